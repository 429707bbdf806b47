"""Finished models of all kinds, as what has descriptors of image files: `open_models.open_models(...)`."""
