"""The program that makes place indexes: `python -m serving.index`."""
