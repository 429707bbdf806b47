"""What a run has embedded so far, from which the same command goes on after a break."""

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from keras_sare.utils.files import atomic_path, lock
from serving.client.exchange import FileAnswer

SUFFIX = ".unfinished"
"""Of the folder beside the output."""

_SECONDS = 1.0


class Store:
    """Embeddings and errors of an unfinished run, in a locked folder beside its output; for a `with` block.

    What was added is on the disk at most a second later; of what came after that, a break loses it and no more: the
    journal tells how much of the files counts.

    Args:
        output: file that the run is to end in.
        header: what the result depends on, for JSON. A run that was broken off goes on only where it is the same.
        clock: tells seconds.

    Attributes:
        folder: of the store.
        done: photos that were embedded, or have an error.
        rows: embeddings among them.
        dimension: of the embeddings; 0 where there are none yet.

    Raises:
        RuntimeError: another process writes the same output.
        ValueError: a run that was broken off had another header.
    """

    def __init__(self, output: Path, header: Mapping[str, object], clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = output.with_name(output.name + SUFFIX)
        self.done = 0
        self.rows = 0
        self.dimension = 0
        self._clock = clock
        lock(self.folder / "run.lock")
        self._begin(header)
        self._embeddings = _opened(self.data)
        self._errors = _opened(self.folder / "errors.jsonl")
        self._journal = _opened(self.folder / "journal.jsonl")
        self._restore()
        self._saved = clock()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        """Keeps what was added, unless it was removed."""
        if not self._journal.closed:
            self.save()
            self._close()

    @property
    def data(self) -> Path:
        """The embeddings, a .npy file once `finish` was called."""
        return self.folder / "embeddings.npy"

    def add(self, answer: FileAnswer) -> None:
        """Stores an answer to the photos that follow.

        Raises:
            ValueError: its embeddings have another dimension than those before.
        """
        if len(answer.embeddings):
            dimension = answer.embeddings.shape[1]
            if not self.rows:
                self.dimension = dimension
                _write_header(self._embeddings, 0, dimension)
            if dimension != self.dimension:
                raise ValueError(f"All embeddings must have the dimension {self.dimension}. Received: {dimension}")
            self._embeddings.write(np.ascontiguousarray(answer.embeddings, "<f4").tobytes())
        for index, error in enumerate(answer.errors, self.done):
            if error:
                self._errors.write(_line({"photo": index, "error": error}))
        self.done += len(answer.paths)
        self.rows += len(answer.embeddings)
        if self._clock() - self._saved >= _SECONDS:
            self.save()

    def save(self) -> None:
        """Puts on the disk what was added."""
        for file in (self._embeddings, self._errors):
            _settle(file)
        entry = {"done": self.done, "rows": self.rows, "dimension": self.dimension, "errors": self._errors.tell()}
        self._journal.write(_line(entry))
        _settle(self._journal)
        self._saved = self._clock()

    def finish(self) -> None:
        """Saves, and makes `data` a .npy file of float32 [rows, dimension]."""
        self.save()
        if self.rows:
            _write_header(self._embeddings, self.rows, self.dimension)
            _settle(self._embeddings)

    def embeddings(self) -> Iterator[np.ndarray]:
        """Each embedding of a finished run, read when it is asked for: pages of a memory map would stay in memory."""
        with open(self.data, "rb") as file:
            file.seek(_header_length(self.dimension))
            for _ in range(self.rows):
                yield np.fromfile(file, "<f4", self.dimension)

    def errors(self) -> Iterator[tuple[int, str]]:
        """Number of each photo that has an error, ascending, and the error."""
        self._errors.flush()
        with open(self._errors.name, "rb") as file:
            for line in file:
                entry = json.loads(line)
                yield entry["photo"], entry["error"]

    def remove(self) -> None:
        """Closes and deletes the files: the output is in its place."""
        self._close()
        shutil.rmtree(self.folder)

    def _close(self) -> None:
        for file in (self._embeddings, self._errors, self._journal):
            file.close()

    def _begin(self, header: Mapping[str, object]) -> None:
        path = self.folder / "header.json"
        if not path.exists():
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(header))
        begun = json.loads(path.read_text())
        other = sorted(name for name in begun.keys() | header.keys() if begun.get(name) != header.get(name))
        if other:
            raise ValueError(
                f"{str(self.folder)!r} holds a run that was broken off and had other {', '.join(other)}: go on with "
                f"the command that began it, or delete that folder to begin anew. "
                f"Received: {other[0]}={header.get(other[0])!r}, where it was {begun.get(other[0])!r}"
            )

    def _restore(self) -> None:
        nothing = {"done": 0, "rows": 0, "dimension": 0, "errors": 0}
        entry = nothing
        end = 0
        for line in self._journal:
            if not line.endswith(b"\n"):  # The break came while it was written.
                break
            entry = json.loads(line)
            end += len(line)
        length = _length(entry)
        if self.data.stat().st_size < length:  # The break came after the file was put in its place.
            entry = nothing
            length = 0
            end = 0
        self.done = entry["done"]
        self.rows = entry["rows"]
        self.dimension = entry["dimension"]
        _cut(self._embeddings, length)
        _cut(self._errors, entry["errors"])
        _cut(self._journal, end)


def _length(entry: dict[str, int]) -> int:
    """Bytes of the file of embeddings."""
    if not entry["rows"]:
        return 0
    return _header_length(entry["dimension"]) + 4 * entry["rows"] * entry["dimension"]


def _header_length(dimension: int) -> int:
    return _write_header(io.BytesIO(), 0, dimension)


def _opened(path: Path) -> IO[bytes]:
    path.touch()
    return open(path, "r+b")


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _settle(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _cut(file: IO[bytes], length: int) -> None:
    file.truncate(length)
    file.seek(length)


def _write_header(file: IO[bytes], rows: int, dimension: int) -> int:
    """Writes the header of a .npy file, which has one length whatever the number of rows, and returns it."""
    position = file.tell()
    file.seek(0)
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
    np.lib.format.write_array_header_1_0(file, header)
    length = file.tell()
    file.seek(max(position, length))
    return length
