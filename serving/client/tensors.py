"""Arrays as messages, and answers as arrays."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.client.messages import TensorProto

STRING = 7
_FLOAT = 1
_HALF = 19
# Type of the elements and field of their values, by TensorFlow's number of the type.
_TYPES = {
    _FLOAT: ("<f4", "float_val"),
    2: ("<f8", "double_val"),
    3: ("<i4", "int_val"),
    9: ("<i8", "int64_val"),
    10: ("?", "bool_val"),
    _HALF: ("<f2", "half_val"),
}


def strings_to_proto(values: Sequence[bytes]) -> Any:
    """Writes strings, such as the contents of files, as a `TensorProto` of shape [len(values)]."""
    proto = TensorProto(dtype=STRING, string_val=values)
    proto.tensor_shape.dim.add(size=len(values))
    return proto


def floats_to_proto(values: np.ndarray) -> Any:
    """Writes numbers of any dtype and shape as a `TensorProto` of float32."""
    proto = TensorProto(dtype=_FLOAT, tensor_content=np.ascontiguousarray(values, "<f4").tobytes())
    for size in values.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def to_array(proto: Any) -> np.ndarray:
    """Reads a `TensorProto` of an answer.

    Returns:
        The values, in a dtype and shape that are the proto's; strings as an object array of bytes.

    Raises:
        ValueError: the values sent are not as many as the shape says, or of a type that no embedding server answers.
    """
    shape = [dim.size for dim in proto.tensor_shape.dim]
    values = _values(proto)
    if min(shape, default=0) < 0 or len(values) != math.prod(shape):
        raise ValueError(
            f"The answer must have as many values as its shape says; the server is at fault. Received: shape={shape}, "
            f"{len(values)} values"
        )
    return values.reshape(shape)


def _values(proto: Any) -> np.ndarray:
    if proto.dtype == STRING:
        return np.array([*proto.string_val, None], object)[:-1]  # Of strings alone numpy would make its own dtype.
    if proto.dtype not in _TYPES:
        raise ValueError(f"The answer must hold numbers or strings. Received: a tensor of type {proto.dtype}")
    dtype, field = _TYPES[proto.dtype]
    if proto.tensor_content:
        if len(proto.tensor_content) % np.dtype(dtype).itemsize:
            raise ValueError("The answer must hold whole numbers of bytes for its values; the server is at fault.")
        return np.frombuffer(proto.tensor_content, dtype)
    if proto.dtype == _HALF:
        return np.array(proto.half_val, np.uint16).view("<f2")
    return np.array(getattr(proto, field), dtype)
