"""Numbers and arrays in whatever form they come to a public function."""

import functools
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

Target = TypeVar("Target", bound=Callable[..., Any])

_NUMBERS = frozenset({int, float})


def plain_arguments(target: Target) -> Target:
    """Decorates a function, or a class for its constructor, so that its type hints say what it makes of arguments.

    Where they want a number, a number of numpy or a tensor or array without dimensions becomes one of Python, which
    JSON and `isinstance` know; where they want an array, a tensor or a list of numbers becomes one. Whatever else comes
    is left as it is, memory maps and HDF5 data sets included, which are not read.

    Args:
        target: function or class with type hints.

    Returns:
        The function with the same signature, or the class itself.
    """
    if isinstance(target, type):
        target.__init__ = plain_arguments(target.__init__)  # type: ignore[misc]
        return target
    signature = inspect.signature(target)

    @functools.cache
    def wanted() -> dict[str, frozenset[Any]]:
        # At the first call: a method's hints may name a class that is still being made.
        return {name: frozenset(_alternatives(hint)) for name, hint in get_type_hints(target).items()}

    @functools.wraps(target)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return target(*args, **kwargs)  # Which says by its own name what is wrong.
        for name, value in bound.arguments.items():
            bound.arguments[name] = _plain(value, wanted().get(name, frozenset()))
        return target(*bound.args, **bound.kwargs)

    wrapper.__signature__ = signature  # type: ignore[attr-defined]  # Keras looks for it on constructors.
    return wrapper  # type: ignore[return-value]


def _alternatives(hint: Any) -> Iterator[Any]:
    """What a hint allows, of that which matters here: int, float, np.ndarray, and Sequence for one of numbers."""
    if get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _alternatives(part)
    elif hint in (int, float, np.ndarray):
        yield hint
    elif get_origin(hint) in (Sequence, tuple, list):
        yield Sequence if _NUMBERS & set(get_args(hint)) else list


def _plain(value: Any, wanted: frozenset[Any]) -> Any:
    if not wanted:
        return value
    if not isinstance(value, np.ndarray | np.generic) and (hasattr(value, "numpy") or hasattr(value, "__dlpack__")):
        value = np.asarray(value)  # A tensor.
    if isinstance(value, np.generic | np.ndarray) and not value.ndim:
        return value.item() if wanted & _NUMBERS else value
    if isinstance(value, np.ndarray) and np.ndarray not in wanted and Sequence in wanted:
        return value.tolist()
    if not isinstance(value, list | tuple):
        return value
    if Sequence in wanted:
        plain = [_plain(one, _NUMBERS) for one in value]
        return tuple(plain) if isinstance(value, tuple) else plain
    return np.asarray(value) if np.ndarray in wanted and list not in wanted else value
