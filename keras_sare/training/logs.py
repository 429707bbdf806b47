"""Figures of each epoch as CSV, for TensorBoard and as a picture."""

import csv
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_sare.training.training_picture import draw_training
from keras_sare.utils.files import atomic_path


class EpochLog:
    """Writes `log.csv`, `training.png` and TensorBoard events.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events: Any = None

    def write(self, history: list[dict[str, Any]], best_epoch: int) -> None:
        """Writes the figures of all epochs so far.

        The first call of a process writes all of them anew, so that a resumed run leaves none twice and none out; the
        later ones add the last epoch to TensorBoard's events.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        with atomic_path(self.folder / "log.csv") as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=history[-1].keys())
            writer.writeheader()
            writer.writerows(history)
        draw_training(self.folder / "training.png", history, best_epoch)
        new = history[-1:]
        if self._events is None:
            shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
            self._events = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
            new = history
        for row in new:
            with self._events.as_default(step=row["epoch"]):
                for name, value in row.items():
                    if name != "epoch" and value != "":
                        tf.summary.scalar(name, value)
        self._events.flush()
