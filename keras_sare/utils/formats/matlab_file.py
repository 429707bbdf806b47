"""MATLAB files as plain Python values."""

import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py

from keras_sare.utils.formats.matlab_objects import ObjectTable
from keras_sare.utils.formats.matlab_v5 import read_v5
from keras_sare.utils.formats.matlab_v73 import read_v73

_DAMAGED: tuple[type[Exception], ...] = (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError)
_DAMAGED += (OSError, StopIteration, RuntimeError, struct.error, zlib.error)


def read_matlab(path: str | os.PathLike[str], names: list[str] | None = None) -> dict[str, Any]:
    """Reads variables of a MATLAB file of version 5, 6, 7 or 7.3. Nothing in the file is executed.

    Arrays may be read-only and lie in the file itself: do not overwrite it in place while they are in use.

    Args:
        path: the file.
        names: which variables are wanted; None for all. Those that the file does not have are left out.

    Returns:
        Values by variable's name. A numeric or logical array is an `np.ndarray` of MATLAB's shape; text is `str` (a
        list of `str` where it has several rows), and so is a string of MATLAB's class string (a list where it is an
        array of them, empty where it is missing); a cell array is a list in column order; a struct is a dict, an array
        of structs (or of objects) a list in column order; an object of a class is a `MatlabObject`, a dict of its
        properties. What has no such form (function handles, sparse matrices, Java objects) is None.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no MATLAB file of these versions, or it is cut or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path` must name an existing file. Received: path={str(path)!r}")
    with path.open("rb") as file:
        header = file.read(128)
    hdf5 = h5py.is_hdf5(path)
    if not hdf5 and (len(header) < 128 or header[126:] not in (b"IM", b"MI") or b"MATLAB 7.3" in header):
        raise ValueError(
            "`path` must be a whole MATLAB file of version 5 to 7.3 (MATLAB's save writes those; a file of version 4 "
            f"must be saved again); it does not start like one. Received: path={str(path)!r}"
        )
    try:
        order = "<"
        if hdf5:
            variables, table = read_v73(path, names)
        else:
            with path.open("rb") as file:
                # The arrays are views of it: it closes with the last of them, and is no memory that must be kept.
                variables, table, order = read_v5(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        objects = ObjectTable(table, order)
        return {name: objects.resolve(value) for name, value in variables.items() if names is None or name in names}
    except _DAMAGED as error:
        raise ValueError(
            f"`path` must be a whole MATLAB file; it cannot be read: {type(error).__name__}: {error}. Copy it again. "
            f"Received: path={str(path)!r}"
        ) from error
