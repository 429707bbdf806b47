"""Checkpoints: everything that an unbroken run would have, written so that a kill at any moment leaves a whole one."""

import logging
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_sare.training.checkpoints.checked_folder import Arrays, Damaged, read_checked, write_checked
from keras_sare.training.checkpoints.run_state import EpochState, RunState
from keras_sare.utils.files import free_bytes, remove_partials

logger = logging.getLogger(__name__)

FORMAT = 3


class Stateful(Protocol):
    """What has arrays to keep."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays by name; the same names and shapes for all states."""

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the arrays of `state_dict`."""


class Checkpoints:
    """The last few states of a run and that of the best epoch, a folder each.

    `epoch-0003` is the state after three epochs, `epoch-0003-window-0001-step-000200` one within the fourth. Each holds

    | file | what |
    |---|---|
    | `weights.npz` | those variables of the model that training changes |
    | `optimizer.npz` | variables of the optimizer: momentum, learning rate, loss scale |
    | `mining.npz` | previous negatives, and the tuples of the present window |
    | `state.json` | the rest, see `RunState`; format, datasets, a checksum of the weights that are not trained |
    | `checksums.json` | of every other file |

    A folder appears under its name when its files are on the disk, and only then an older one is dropped.

    Args:
        folder: holds the checkpoints.
        model: whose weights are kept. Weights of layers that are not trainable are not: a resumed run brings its own,
            and they must be the same.
        optimizer: already built.
        mining: whose state is kept, such as a `CacheRefresher`; `restore` loads it.
        keep: number of checkpoints that are kept beside the best epoch's.
        frozen: layers before `model`, not kept either.
        datasets: what tells datasets from others, by name. A resumed run must have the same: tuples and previous
            negatives are numbers of images.
        writes: whether this process writes files; with several workers only one does.
    """

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        mining: Stateful,
        keep: int = 2,
        frozen: keras.Model | None = None,
        datasets: Mapping[str, str] | None = None,
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.keep = keep
        self.writes = writes
        self._mining = mining
        self._optimizer = optimizer
        self._datasets = dict(datasets or {})
        unchanging = [w for layer in model.layers if not layer.trainable for w in layer.weights]
        self._weights = [v for v in model.variables if not any(v is w for w in unchanging)]
        self._frozen = _checksum([*unchanging, *(frozen.weights if frozen else [])])

    @property
    def last(self) -> str:
        """A sentence on the last checkpoint."""
        names = [path.name for path in self._existing()]
        return f"The last checkpoint, {names[-1]}, is whole" if names else "There is no checkpoint yet"

    def save(self, state: RunState) -> None:
        """Writes a checkpoint, then drops those that are neither among the last nor the best.

        Raises:
            OSError: the disk is full or cannot be written; the message tells how to go on.
        """
        groups = {"weights": _arrays(self._weights), "optimizer": _arrays(self._optimizer.variables)}
        if not self.writes:
            return
        groups["mining"] = dict(self._mining.state_dict())
        if state.running.tuples is not None:
            groups["mining"]["tuples"] = state.running.tuples
        target = self._path(state)
        try:
            fixed = {"format": FORMAT, "frozen": self._frozen, "datasets": self._datasets}
            write_checked(target, groups, {**fixed, "state": _figures(state)})
        except OSError as error:
            needed = sum(array.nbytes for group in groups.values() for array in group.values())
            raise self.explain(error, f"checkpoint {target.name}", needed) from error
        self._prune(target, state.best_epoch)

    def restore(self) -> RunState | None:
        """Loads the last checkpoint that is whole into the model, the optimizer and the mining.

        What a kill left half-written is removed.

        Returns:
            The state, or None where there is no checkpoint.

        Raises:
            ValueError: the checkpoint was written in another format, for another model, on other datasets or with other
                settings, or none is whole.
        """
        if self.writes:
            remove_partials(self.folder)
        paths = self._existing()
        for path in reversed(paths):
            try:
                return self._load(path)
            except Damaged as damage:
                logger.warning("Checkpoint %s is damaged (%s): the one before is used", path, damage)
        if paths:
            raise ValueError(
                f"No checkpoint in {str(self.folder)!r} is whole. Remove that folder to train from the beginning. "
                f"Received: {', '.join(path.name for path in paths)}"
            )
        return None

    def load_best(self, state: RunState) -> None:
        """Loads the weights of the best epoch into the model.

        Raises:
            ValueError: that checkpoint is damaged.
        """
        path = self._path(RunState(epoch=state.best_epoch))
        try:
            _assign(self._weights, read_checked(path)[0]["weights"], path)
        except Damaged as damage:
            raise ValueError(
                f"The best epoch's checkpoint, {str(path)!r}, is damaged ({damage}): its weights are lost. Remove the "
                f"folder {str(self.folder)!r} to train again."
            ) from damage

    def explain(self, error: OSError, what: str, needed: int = 0) -> OSError:
        """Makes an error that tells how to go on out of one that stopped the writing of a file.

        Args:
            error: for example that the disk is full.
            what: could not be written.
            needed: bytes, where known.
        """
        free = f"{free_bytes(self.folder) / 1e6:.1f} MB are free there"
        space = f"It needs {needed / 1e6:.1f} MB, {free}" if needed else free
        return OSError(
            error.errno,
            f"Cannot write {what} in {str(self.folder)!r}: {error.strerror or error}. {space}. {self.last}: make room "
            "and resume the run.",
        )

    def _load(self, path: Path) -> RunState:
        if (path / "progress.json").is_file():
            raise ValueError(_OTHER_FORMAT.format(path=path, format=1))
        groups, content = read_checked(path)
        if content["format"] != FORMAT:
            raise ValueError(_OTHER_FORMAT.format(path=path, format=content["format"]))
        if content["frozen"] != self._frozen:
            raise ValueError(
                f"Checkpoint {str(path)!r} was written with other weights in the layers that are not trained. Resume "
                "with the model that the run was started with."
            )
        _check_datasets(content["datasets"], self._datasets, path)
        tuples = groups["mining"].pop("tuples", None)
        _check_shapes(list(self._mining.state_dict().values()), groups["mining"], path)
        _assign(self._weights, groups["weights"], path)
        _assign(self._optimizer.variables, groups["optimizer"], path)
        self._mining.load_state_dict(groups["mining"])
        figures = content["state"]
        return RunState(**{**figures, "running": EpochState(**figures["running"], tuples=tuples)})

    def _path(self, state: RunState) -> Path:
        name = f"epoch-{state.epoch:04d}"
        running = state.running
        within = "" if running.tuples is None else f"-window-{running.window:04d}-step-{running.step:06d}"
        return self.folder / (name + within)

    def _existing(self) -> list[Path]:
        """In the order of the run: the name of an epoch comes before the names of what follows within the next."""
        return sorted(self.folder.glob("epoch-*"))

    def _prune(self, written: Path, best_epoch: int) -> None:
        # What is later than the checkpoint just written is damaged: `restore` passed it over.
        earlier = [path for path in self._existing() if path <= written]
        kept = {*earlier[-self.keep :], self._path(RunState(epoch=best_epoch))}
        for path in self._existing():
            if path not in kept:
                shutil.rmtree(path)


_OTHER_FORMAT = (
    "Checkpoint {path} has format {format}; this version of keras_sare reads format "
    f"{FORMAT}. Finish the run with the version that started it, or start a new one."
)


def _arrays(variables: Iterable[Any]) -> dict[str, np.ndarray]:
    # By number: the names of layers that nobody named change from one model of a process to the next.
    return {f"{i:04d}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}


def _figures(state: RunState) -> dict[str, Any]:
    figures = asdict(state)
    del figures["running"]["tuples"]
    return figures


def _assign(variables: Sequence[Any], arrays: Arrays, path: Path) -> None:
    _check_shapes(variables, arrays, path)
    for variable, array in zip(variables, arrays.values(), strict=True):
        variable.assign(array)


def _check_datasets(before: Mapping[str, str], now: Mapping[str, str], path: Path) -> None:
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing:
        changes = "; ".join(f"{name}: {before.get(name)} before, {now.get(name)} now" for name in differing)
        raise ValueError(
            f"Checkpoint {str(path)!r} was written on other datasets, so that its numbers of images name others now. "
            "Repair or put back what is missing, or take away what is new, and resume the run; or start a new one. "
            f"Received: {changes}"
        )


def _check_shapes(expected: Sequence[Any], arrays: Arrays, path: Path) -> None:
    wanted, found = ([tuple(one.shape) for one in side] for side in (expected, arrays.values()))
    if wanted != found:
        raise ValueError(
            f"Checkpoint {str(path)!r} belongs to another model, or to a run with other settings. Resume with what the "
            f"run was started with: shapes {wanted}. Received: {found}"
        )


def _checksum(weights: Iterable[Any]) -> int:
    checksum = 0
    for weight in weights:
        checksum = zlib.crc32(keras.ops.convert_to_numpy(weight).tobytes(), checksum)
    return checksum
