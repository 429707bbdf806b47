"""Containers, bytes and complex numbers in a pickle, made without a call of what the pickle names."""

from collections.abc import Callable
from typing import Any

import numpy as np


class RefusedError(ValueError):
    """The pickle asks for something that is not admitted. The message goes on after "this pickle"."""


def shown(value: Any) -> str:
    """Text of what a pickle holds, for messages."""
    # Text of containers may be endless: they can hold one another many times over.
    return repr(value[:100]).strip("'") if type(value) is str else f"({type(value).__name__})"


def checked_key(key: Any) -> Any:
    """Refuses what is no plain key of a dictionary or element of a set."""
    # Python hashes nested tuples by recursion without a limit.
    for part in key if type(key) is tuple else (key,):
        if not isinstance(part, str | bytes | int | float | complex | np.generic | None):
            raise RefusedError(f"has a {type(part).__name__} in a key")
    return key


def pairs(items: list[Any]) -> dict[Any, Any]:
    """Dictionary of keys and values that take turns."""
    return {checked_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def made_set(items: Any = ()) -> set[Any]:
    """Set of the plain items of a list or tuple."""
    if type(items) not in (list, tuple):
        raise RefusedError(f"makes a set of a {type(items).__name__}")
    return set(map(checked_key, items))


def _ordered_dict(items: Any = ()) -> dict[Any, Any]:
    if type(items) is dict:
        return dict(items)
    if type(items) not in (list, tuple) or any(type(item) not in (list, tuple) for item in items):
        raise RefusedError("makes an OrderedDict of something other than pairs")
    return pairs([part for key, value in items for part in (key, value)])


def _encode(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or type(encoding) is not str or encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"holds bytes in the encoding {shown(encoding)}")
    return text.encode("latin1")


def _bytes(*nothing: Any) -> bytes:
    if nothing:
        raise RefusedError("wants to call bytes with arguments")
    return b""


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise RefusedError("holds a complex number of something other than floats")
    return complex(real, imaginary)


CONTAINER_CALLS: dict[str, Callable[..., Any]] = {
    "builtins set": made_set,
    "builtins frozenset": lambda items=(): frozenset(made_set(items)),
    "builtins bytes": _bytes,
    "builtins complex": _complex,
    "collections OrderedDict": _ordered_dict,
    "_codecs encode": _encode,
}
"""What Python itself calls to make containers, bytes and complex numbers."""
