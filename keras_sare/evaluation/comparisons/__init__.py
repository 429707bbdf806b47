"""Models side by side: off the shelf, trained, whitened, re-ranked; runs of several losses and seeds."""
