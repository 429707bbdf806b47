"""Checkpoints: everything that an unbroken run would have, written so that a kill at any moment leaves a whole one."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare.utils.files import atomic_path


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        epoch: epochs that are complete.
        best_epoch: the one with the best validation recall; 0 is the model before training.
        best: JSON of its `RecallReport`.
        history: one row of figures for each epoch, from epoch 0.
    """

    epoch: int = 0
    best_epoch: int = 0
    best: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)


class Checkpoints:
    """The last and the best epoch of a run, a folder each: weights, optimizer, mined negatives and progress.

    Args:
        folder: holds `epoch-0000`, `epoch-0001` and so on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(
        self,
        progress: Progress,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        remembered: np.ndarray,
    ) -> None:
        """Writes the checkpoint of `progress.epoch`, then drops those that are neither the last nor the best."""
        target = self._path(progress.epoch)
        if target.exists():  # left by a kill between writing and a later run's restart
            shutil.rmtree(target)
        with atomic_path(target) as folder:
            folder.mkdir()
            model.save_weights(folder / "model.weights.h5")
            np.savez(folder / "optimizer.npz", *[keras.ops.convert_to_numpy(v) for v in optimizer.variables])
            np.save(folder / "remembered.npy", remembered)
            (folder / "progress.json").write_text(json.dumps(asdict(progress)))
        for path in self._complete():
            if path not in (target, self._path(progress.best_epoch)):
                shutil.rmtree(path)

    def restore(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer, remembered: np.ndarray
    ) -> Progress | None:
        """Loads the last checkpoint into its arguments, in place.

        Returns:
            The progress, or None where there is no checkpoint.
        """
        paths = self._complete()
        if not paths:
            return None
        last = paths[-1]
        model.load_weights(last / "model.weights.h5")
        with np.load(last / "optimizer.npz") as arrays:
            for variable, name in zip(optimizer.variables, arrays.files, strict=True):
                variable.assign(arrays[name])
        remembered[:] = np.load(last / "remembered.npy")
        return Progress(**json.loads((last / "progress.json").read_text()))

    def load_best(self, model: keras.Model, progress: Progress) -> None:
        """Loads the weights of the best epoch into `model`."""
        model.load_weights(self._path(progress.best_epoch) / "model.weights.h5")

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}"

    def _complete(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"))
