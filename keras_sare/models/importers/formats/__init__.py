"""File formats of PyTorch: checkpoints and state dicts, read without running anything in them."""
