"""A large array in many files, each written whole or not at all, with fast reading of random rows."""

import errno
import io
import math
import os
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_sare.utils.files import atomic_path

OPEN_FILES = 64
"""Files that one array keeps open."""

# A file is written in seconds: a half-written one of this age, in seconds, is what a kill left.
_DEAD_AFTER = 3600
_READERS = ThreadPoolExecutor(4, "chunk-files")


class ChunkFiles:
    """An array [rows, ...] in files `maps-<label>.npy` of equally many rows; the last has fewer.

    Rows are read with `preadv` by a few threads: a memory map reads a cold row in pieces of 128 KB, one after the
    other, and kills the program where the disk fails.

    Args:
        folder: of the files. Made when the first is written.
        shape: of the whole array.
        dtype: "float16", "bfloat16" or "float32". bfloat16, which a `.npy` file cannot name, is stored as uint16 bits.
        rows_per_file: rows in each file but the last.
        labels: of the files, which their names end with; by default 00000, 00001, ... Files of other labels in the
            folder are left alone.

    Attributes:
        present: bool [files], those that are there, complete; as of the last `scan`.
        sizes: bytes of each file, int64.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, ...],
        dtype: str,
        rows_per_file: int,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.folder = folder
        self.shape = shape
        self.rows_per_file = rows_per_file
        self.dtype = np.dtype(tf.as_dtype(dtype).as_numpy_dtype)
        self._row_bytes = math.prod(shape[1:]) * self.dtype.itemsize
        count = math.ceil(shape[0] / rows_per_file)
        self._labels = [f"{i:05d}" for i in range(count)] if labels is None else list(labels)
        self.sizes = np.array([len(self._header(i)) + len(self.rows(i)) * self._row_bytes for i in range(count)])
        self._open = lru_cache(OPEN_FILES)(_OpenFile)
        self.scan()

    def path(self, file: int) -> Path:
        """Where a file is or will be."""
        return self.folder / f"maps-{self._labels[file]}.npy"

    def rows(self, file: int) -> np.ndarray:
        """Rows that a file holds, int64."""
        start = file * self.rows_per_file
        return np.arange(start, min(start + self.rows_per_file, self.shape[0]))

    def scan(self) -> np.ndarray:
        """Looks which files are there. One of a wrong size, as a crash of the machine can leave it, does not count.

        Returns:
            `present`.
        """
        found = _sizes(self.folder) if self.folder.is_dir() else {}
        self.present = np.array([found.get(self.path(i).name) == size for i, size in enumerate(self.sizes)], bool)
        return self.present

    def write(self, file: int, values: np.ndarray) -> None:
        """Writes a file.

        Args:
            file: its number.
            values: [rows of the file, ...].

        Raises:
            OSError: the disk is full, for example; the message names the file.
        """
        try:
            with atomic_path(self.path(file)) as temporary, open(temporary, "wb") as out:
                out.write(self._header(file))
                out.write(_as_bytes(values.astype(self.dtype, copy=False)).data)
        except OSError as error:
            number = error.errno or errno.EIO
            raise OSError(
                number,
                f"Cannot write {self.path(file)}: {os.strerror(number)}. Make room on the disk or allow the store "
                "fewer bytes; what is written is used again",
            ) from error
        self.present[file] = True

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows of files that are present.

        Args:
            rows: int64 [n], in any order.

        Returns:
            [n, ...] of `dtype`.

        Raises:
            OSError: a file is gone or cut short; the message names it.
        """
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        buffers = _as_bytes(out).reshape(len(rows), self._row_bytes)
        for _ in _READERS.map(self._read_row, rows.tolist(), buffers):
            pass  # Going through the results raises what a thread has raised.
        return out

    def remove_dead(self) -> None:
        """Deletes what killed runs left half-written, but nothing that another run may be writing now."""
        for path in self.folder.glob(".*.partial.maps-*.npy"):
            with suppress(FileNotFoundError):  # Another run has finished it, or removed it just as well.
                if time.time() - path.stat().st_mtime > _DEAD_AFTER:
                    path.unlink()

    def _read_row(self, row: int, buffer: np.ndarray) -> None:
        file, position = divmod(row, self.rows_per_file)
        header = int(self.sizes[file]) - len(self.rows(file)) * self._row_bytes
        self._open(self.path(file)).read(header + position * self._row_bytes, buffer)

    def _header(self, file: int) -> bytes:
        stored = np.dtype(np.uint16) if self.dtype.kind == "V" else self.dtype
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header,
            {
                "descr": np.lib.format.dtype_to_descr(stored),
                "fortran_order": False,
                "shape": (len(self.rows(file)), *self.shape[1:]),
            },
        )
        return header.getvalue()


class _OpenFile:
    """Closed when the last reader has let go of it: another thread may still read a file that the cache drops."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, offset: int, buffer: np.ndarray) -> None:
        if os.preadv(self._descriptor, [buffer.data], offset) != len(buffer):
            raise OSError(errno.EIO, f"{self._path} is damaged. Delete it: the next run computes it again")


def _sizes(folder: Path) -> dict[str, int]:
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            # What other runs write or remove meanwhile may be gone before it is looked at.
            if entry.name.startswith("maps-"):
                with suppress(FileNotFoundError):
                    found[entry.name] = entry.stat().st_size
    return found


def _as_bytes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
