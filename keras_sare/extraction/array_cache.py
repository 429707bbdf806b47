"""Results of long computations on disk, until the program that needs them has come to its end."""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_sare.utils.digests import content_digest
from keras_sare.utils.files import atomic_path, remove_partials
from keras_sare.utils.files import lock as lock_file

_FOLDER = ".retrieval-arrays"
_LOCK = "lock"
_PLACE = re.compile("[0-9a-f]{32}")


class ArrayCache:
    """A hidden folder of arrays, so that a program that was killed and is started again does not compute them again.

    An array is found again by what it was computed from: all that its values depend on must be named. The contents of
    image files are not looked at, only their names.

    Args:
        folder: of the program's results; the arrays go into `.retrieval-arrays` in it. Nothing is made yet.

    Attributes:
        folder: of the arrays.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder) / _FOLDER

    def lock(self) -> None:
        """Makes the folder this process's own until it ends, and deletes what a killed one left half-written in it.

        Raises:
            RuntimeError: another process has claimed it.
        """
        lock_file(self.folder / _LOCK)
        remove_partials(self.folder)

    def folder_of(self, *origin: object) -> Path:
        """Where things of an origin lie, or will.

        Args:
            origin: what they are computed from: text, numbers, arrays of numbers or text.
        """
        digest = hashlib.sha256()
        for part in origin:
            text = json.dumps(part.tolist() if isinstance(part, np.ndarray) else part)
            digest.update(text.encode() + b"\n")
        return self.folder / digest.hexdigest()[:32]

    def get_or_compute(self, origin: Sequence[object], compute: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
        """Returns the cached arrays of an origin, or else computes and caches them.

        Args:
            origin: see `folder_of`.
            compute: gives at most ten arrays.

        Returns:
            The arrays as memory maps, read-only: they take memory only while they are read.
        """
        folder = self.folder_of(*origin)
        if not folder.is_dir():
            arrays = compute()
            with atomic_path(folder) as path:
                path.mkdir()
                for i, array in enumerate(arrays):
                    np.save(path / f"{i}.npy", array)
        return [np.load(file, mmap_mode="r") for file in sorted(folder.glob("?.npy"))]

    def clear(self) -> None:
        """Deletes the cached arrays, and the folder where nothing else is in it. Arrays that are open stay readable."""
        for path in self.folder.glob("*"):
            if path.is_dir() and _PLACE.fullmatch(path.name):
                shutil.rmtree(path)
        (self.folder / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # There is no folder, or it holds other files too.
            self.folder.rmdir()


def model_digest(model: keras.Model) -> str:
    """Tells models apart: a hash of the layers and of every weight.

    Args:
        model: its layers' names count too.
    """
    return content_digest(itertools.chain([model.to_json()], map(keras.ops.convert_to_numpy, model.weights)))
