"""Figures of each epoch as CSV and for TensorBoard."""

import csv
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_sare.utils.files import atomic_path


class EpochLog:
    """Writes `log.csv` and TensorBoard events.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.csv = folder / "log.csv"
        self.events = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def write(self, history: list[dict[str, Any]]) -> None:
        """Rewrites the CSV, so that a resumed run leaves no row twice, and adds the last epoch to the events."""
        with atomic_path(self.csv) as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=history[-1].keys())
            writer.writeheader()
            writer.writerows(history)
        row = history[-1]
        with self.events.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name != "epoch" and value != "":
                    tf.summary.scalar(name, value)
        self.events.flush()
