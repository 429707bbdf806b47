"""Descriptors on the disk while they are extracted, so that a run that was killed goes on where it was."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_sare.evaluation.measures.environment import peak_bytes
from keras_sare.utils.digests import content_digest
from keras_sare.utils.files import atomic_path, lock
from serving.descriptors.descriptor_model import DescriptorModel, Rows

_SECONDS = 2.0


@dataclass(frozen=True)
class ExtractionCost:
    """What an extraction took, over all starts of the program.

    Attributes:
        images: that were extracted.
        seconds: wall time.
        peak_bytes: most memory that a process has had until it was done; None where the system does not tell.
    """

    images: int
    seconds: float
    peak_bytes: int | None


class DescriptorFiles:
    """Descriptors of finished models, in files of a folder. Of an unfinished one, only what is missing is extracted.

    Args:
        folder: where they lie; made at the first descriptor.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        lock(folder / "lock")

    def of(self, model: DescriptorModel, paths: np.ndarray, batch_size: int) -> np.ndarray:
        """The descriptors of images, float32 [N, dim], a memory map.

        Found again where the model, the files' names, sizes and times, and the reading are the same.

        Args:
            model: to extract them with.
            paths: [N] files.
            batch_size: images at a time.
        """
        place = self.place(model, paths)
        finished = place.with_suffix(".npy")
        if not finished.is_file():
            rows = _UnfinishedRows(place, len(paths))
            try:
                if len(rows.missing):
                    model.extract(paths[rows.missing], batch_size, rows)
            finally:
                rows.save()
            rows.finish(finished)
        return np.load(finished, mmap_mode="r")

    def cost(self, model: DescriptorModel, paths: np.ndarray) -> ExtractionCost | None:
        """What these descriptors took; None where an earlier version extracted them, which did not measure it."""
        return _read_cost(self.place(model, paths).with_suffix(".json"))

    def place(self, model: DescriptorModel, paths: np.ndarray) -> Path:
        """Where they lie, without suffix: the same for the same model, files and reading."""
        return self._folder / content_digest(_origin(model, paths))[:32]


class _UnfinishedRows(Rows):
    """Rows of descriptors in one file, and which of them are there in another."""

    def __init__(self, place: Path, count: int) -> None:
        self._data = place.with_suffix(".unfinished.npy")
        self._marks_path = place.with_suffix(".done")
        begun = self._data.is_file() and self._marks_path.is_file()
        self._marks = np.memmap(self._marks_path, np.bool_, "r+" if begun else "w+", shape=(count,))
        # Where nothing is marked, a kill may have left the file of rows without its header.
        self._rows = np.lib.format.open_memmap(self._data, "r+") if self._marks.any() else None
        self._pending: list[np.ndarray] = []
        self._cost_path = place.with_suffix(".json")
        self._spent = _read_cost(self._cost_path) if begun else None
        self._started = time.monotonic()
        self._saved = self._started
        self.missing = np.flatnonzero(~self._marks)
        """Rows that are not there yet; `self[i]` is the i-th of them."""

    def __setitem__(self, rows: np.ndarray, descriptors: np.ndarray, /) -> None:
        if self._rows is None:
            self._rows = self._created(descriptors.shape[1])
        indices = self.missing[rows]
        self._rows[indices] = descriptors
        self._pending.append(indices)
        if time.monotonic() - self._saved > _SECONDS:
            self.save()

    def save(self) -> None:
        """Puts what was written on the disk, and only then marks it as there; and what it has taken so far."""
        if self._rows is not None and self._pending:
            self._rows.flush()
            self._marks[np.concatenate(self._pending)] = True
            self._marks.flush()
            self._pending.clear()
            self._save_cost()
        self._saved = time.monotonic()

    def finish(self, finished: Path) -> None:
        """Gives the whole array its name."""
        os.replace(self._data, finished)
        self._marks_path.unlink()

    def _save_cost(self) -> None:
        seconds = time.monotonic() - self._started
        peak = peak_bytes()
        if self._spent is not None:
            seconds += self._spent.seconds
            peak = max(peak or 0, self._spent.peak_bytes or 0) or None
        with atomic_path(self._cost_path) as path:
            path.write_text(json.dumps(asdict(ExtractionCost(int(self._marks.sum()), seconds, peak))) + "\n")

    def _created(self, dim: int) -> np.memmap:
        array = np.lib.format.open_memmap(self._data, "w+", np.float32, (len(self._marks), dim))
        with open(self._data, "r+b") as file:  # A full disk is an error here; in a memory map it kills the process.
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(self._data))
        return array


def _origin(model: DescriptorModel, paths: np.ndarray) -> Iterator[str]:
    yield f"{model.identity}\n{model.reading}\n"
    for path in paths.tolist():
        yield f"{file_state(path)} {path}\n"


def _read_cost(path: Path) -> ExtractionCost | None:
    return ExtractionCost(**json.loads(path.read_text())) if path.is_file() else None


def file_state(path: str | os.PathLike[str]) -> str:
    """Size and time of a file, which change when it does; "" where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
