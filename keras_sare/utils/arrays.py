"""Arrays that stay within a memory limit."""

import math
import os
import tempfile
from pathlib import Path

import numpy as np


def array_within(limit_bytes: float, shape: tuple[int, ...], folder: str | os.PathLike[str]) -> np.ndarray:
    """Returns an uninitialised float32 array: in memory where it fits a limit, else in a nameless file.

    Args:
        limit_bytes: largest array that is kept in memory.
        shape: of the array.
        folder: where the file is made. It has no name, so it disappears with the array, however the program ends.
    """
    if 4 * math.prod(shape) <= limit_bytes:
        return np.empty(shape, np.float32)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
