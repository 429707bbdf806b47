"""Fields of a MATLAB struct as lists of names and arrays of numbers, however they were put into cells."""

from pathlib import Path
from typing import Any

import numpy as np


class MatlabFields:
    """Reads the fields of a struct; every error names the field, the index (from 1, as MATLAB counts) and the file.

    Args:
        struct: of `keras_sare.utils.formats.matlab_file.read_matlab`.
        path: the file, for messages.
    """

    def __init__(self, struct: dict[str, Any], path: Path) -> None:
        self._struct = struct
        self._path = path

    def __contains__(self, field: str) -> bool:
        return field in self._struct

    def file_names(self, field: str) -> np.ndarray:
        """File names of a cell array, a string array or a character matrix: StringDType [N]."""
        entries = self._entries(field)
        for i, entry in enumerate(entries):
            if not isinstance(entry, str) or not entry.strip():
                raise self._error(f"{field}{{{i + 1}}}", "must be one file name", entry)
        return _texts(entries)

    def positions(self, field: str, count: int) -> np.ndarray:
        """Positions of images, 2 x N in the file: float64 [N, 2]."""
        values = _unwrapped(self._struct[field])
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
            raise self._error(field, f"must be a matrix of numbers, 2 x {count}", values)
        if values.shape != (2, count):
            raise self._error(field, f"must be 2 x {count}, one column for each image", values)
        return values.T.astype(np.float64)

    def check_count(self, field: str, of: str, count: int) -> None:
        """Checks that a field holds the number of images, where there is such a field."""
        if field in self._struct:
            value = _unwrapped(self._struct[field])
            if not isinstance(value, np.ndarray) or value.ravel().tolist() != [count]:
                expected = f"must be the number of `{of}`, {count}: the file was cut or edited"
                raise self._error(field, expected, value)

    def timestamps(self, field: str) -> np.ndarray | None:
        """Timestamps, numbers or text, [N]; None where there are none."""
        if field not in self._struct:
            return None
        values = _unwrapped(self._struct[field])
        if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
            return values.ravel(order="F") if values.size else None
        entries = self._entries(field)
        if not entries:
            return None
        if all(isinstance(entry, str) for entry in entries):
            return _texts(entries)
        for i, entry in enumerate(entries):
            if not (isinstance(entry, np.ndarray) and entry.size == 1 and entry.dtype.kind in "biuf"):
                raise self._error(f"{field}{{{i + 1}}}", "must be a number, as others are, or all must be text", entry)
        return np.array([entry.item() for entry in entries])

    def _entries(self, field: str) -> list[Any]:
        """The cells of a field, each without the cells around its value."""
        values = _unwrapped(self._struct[field])
        if isinstance(values, np.ndarray) and not values.size:
            return []
        if isinstance(values, str):
            return [values]
        if not isinstance(values, list):
            raise self._error(field, "must be a cell array of text", values)
        return [_unwrapped(value) for value in values]

    def _error(self, what: str, expected: str, received: Any) -> ValueError:
        return ValueError(f"`{what}` {expected}. Received: {describe(received)}, path={self._path}")


def describe(value: Any) -> str:
    """Says in a few words what a value of a MATLAB file is."""
    if isinstance(value, np.ndarray):
        shown = f" {value.ravel().tolist()}" if 0 < value.size <= 4 else ""
        return f"{value.dtype} of shape {value.shape}{shown}"
    if isinstance(value, str):
        return f"the text {value[:100]!r}"
    if isinstance(value, list):
        return f"{len(value)} cells, the first {describe(value[0])}" if value else "an empty cell"
    return "a struct" if isinstance(value, dict) else "what is neither text nor numbers"


def _unwrapped(value: Any) -> Any:
    """What lies in cells of one cell each; an empty one stays in its cell, so that it can be counted and named."""
    while isinstance(value, list) and len(value) == 1 and not _is_empty(value[0]):
        value = value[0]
    return value


def _is_empty(value: Any) -> bool:
    return not len(value) if isinstance(value, list) else isinstance(value, np.ndarray) and not value.size


def _texts(entries: list[Any]) -> np.ndarray:
    return np.array([entry.strip() for entry in entries], dtype=np.dtypes.StringDType())
