"""States of a run on disk, and the folder of a run."""
