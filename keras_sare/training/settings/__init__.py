"""Numbers of a training run."""
