"""Lists of names and of whole numbers, out of files from anywhere.

A pickle of a few bytes may hold lists that hold one another many times over: their text is endless, and so is what
numpy makes of them. So nothing is converted or shown here before its type is known.
"""

import os
from typing import Any

import numpy as np

_LONGEST_NAME = 1024


def text_list(values: Any, key: str, path: str | os.PathLike[str]) -> list[str]:
    """Checks that values are a flat list of file names.

    Args:
        values: what a file holds.
        key: under which it holds them, for messages.
        path: the file, for messages.

    Returns:
        The names.

    Raises:
        ValueError: they are anything else, or a name has more than 1024 characters.
    """
    names = _flat(values, key, "image names", path)
    wrong = next((i for i, name in enumerate(names) if not isinstance(name, str) or len(name) > _LONGEST_NAME), None)
    if wrong is not None:
        raise _error(key, "image names", f"{key}[{wrong}] of type {_kind(names[wrong])}", path)
    return names


def integer_list(values: Any, key: str, path: str | os.PathLike[str]) -> np.ndarray:
    """Checks that values are a flat list of whole numbers; see `text_list`.

    Returns:
        int64 [n].
    """
    numbers = _flat(values, key, "whole numbers", path)
    wrong = next((i for i, number in enumerate(numbers) if not _is_index(number)), None)
    if wrong is not None:
        raise _error(key, "whole numbers", f"{key}[{wrong}] of type {_kind(numbers[wrong])}", path)
    return np.array(numbers, np.int64)


def _is_index(number: Any) -> bool:
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    return whole and -(2**63) <= number < 2**63


def _flat(values: Any, key: str, of: str, path: str | os.PathLike[str]) -> list[Any]:
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values.tolist()
    if not isinstance(values, list | tuple):
        raise _error(key, of, f"{key} of type {_kind(values)}", path)
    return list(values)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array, shape {value.shape}"
    if isinstance(value, str):
        return f"str, {len(value)} characters"
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"int, {value.bit_length()} bits" if whole else type(value).__name__


def _error(key: str, of: str, received: str, path: str | os.PathLike[str]) -> ValueError:
    return ValueError(f"`path` must hold a list of {of} as {key}. Received: {received}, path={os.fspath(path)!r}")
