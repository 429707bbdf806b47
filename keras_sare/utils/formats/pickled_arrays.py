"""Arrays and scalars of numpy in a pickle, made without a call of what the pickle names."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_sare.utils.formats.pickled_containers import RefusedError, shown

_MAX_RANK = 32

_DTYPES = r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,6})"


class Dtype:
    """A numpy dtype of plain elements. numpy's own would take flags from the pickle that its C code then trusts."""

    __slots__ = ("dtype",)

    def __init__(self, name: str, *_: Any) -> None:
        if type(name) is not str or not re.fullmatch(_DTYPES, name):
            raise RefusedError(f"holds a numpy array of the type {shown(name)}, which is not numbers or text")
        self.dtype = np.dtype(name)

    def set_order(self, state: Any) -> None:
        """Sets the byte order, the one part of numpy's state of such a dtype that its name does not say."""
        if type(state) is not tuple:
            raise RefusedError("wants to change a dtype")
        order = state[1]
        if type(order) is str and order == ">":
            self.dtype = self.dtype.newbyteorder(">")

    def __str__(self) -> str:
        return f"the dtype {self.dtype}"


def _not_callable(*_: Any) -> Any:
    raise RefusedError("wants to call numpy.ndarray")


def _empty_array(*_: Any) -> np.ndarray:
    return np.empty(0, np.int8)


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    array = _elements(data, dtype, shape).reshape(shape, order="F" if type(order) is str and order == "F" else "C")
    array.flags.writeable = False
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    return _elements(data, dtype, ())[0]


def _fill(array: np.ndarray, state: Any) -> None:
    if type(state) is not tuple:
        raise RefusedError("wants to change a ndarray")
    _, shape, dtype, fortran, data = state
    if not array.flags.writeable:
        raise RefusedError("sets the elements of a numpy array twice")
    elements = _elements(data, dtype, shape)
    # An error for lengths that only a zero among them keeps within the file: the next call would not notice.
    elements.reshape(shape)
    array.__setstate__((1, shape, elements.dtype, bool(fortran), elements.tobytes()))  # type: ignore[arg-type]
    # The elements may be those of the bytes object itself, which Python shares and takes for constant.
    array.flags.writeable = False


def _elements(data: Any, dtype: Any, shape: Any) -> np.ndarray:
    """The elements of an array as numpy will see them, one-dimensional: exactly as many bytes as the shape asks for."""
    data = data.encode("latin1") if type(data) is str else data
    if type(dtype) is not Dtype or type(data) is not bytes:
        raise RefusedError("holds a numpy array of something other than numbers or text")
    if type(shape) is not tuple or len(shape) > _MAX_RANK or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedError("holds a numpy array whose shape is not a few numbers")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise ValueError(f"one of its numpy arrays has {len(data)} bytes, which do not fit its shape {shape}")
    elements = np.frombuffer(data, dtype.dtype)
    if dtype.dtype.kind == "U" and np.frombuffer(data, dtype.dtype.str[0] + "u4").max(initial=0) > 0x10FFFF:
        raise ValueError("its numpy array holds characters that do not exist")
    return elements


ARRAY_CALLS: dict[str, Callable[..., Any]] = {
    "numpy ndarray": _not_callable,
    "numpy dtype": Dtype,
    "numpy.core.multiarray scalar": _scalar,
    "numpy.core.multiarray _reconstruct": _empty_array,
    "numpy.core.numeric _frombuffer": _array,
}
"""What numpy calls to make arrays and scalars: of numbers, truth values, text or bytes; none can be written to."""

ARRAY_STATES: dict[type, Callable[[Any, Any], None]] = {np.ndarray: _fill, Dtype: Dtype.set_order}
"""What becomes of the states that numpy gives them."""
