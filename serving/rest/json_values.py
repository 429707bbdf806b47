"""JSON values: read into tensors, and tensors written as JSON values."""

import base64
import reprlib
from itertools import chain
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.errors import RequestError, invalid_argument
from serving.limits import MAX_RANK

BASE64 = "b64"
"""The one key of an object that stands for bytes."""
_TYPES = {bool: "Bool", dict: "Object", float: "Number", int: "Number", list: "Array", str: "String"}


def is_base64(value: Any) -> bool:
    """Whether a JSON value stands for bytes."""
    return isinstance(value, dict) and value.keys() == {BASE64} and isinstance(value[BASE64], str)


def bytes_of_base64(text: str) -> bytes:
    """Decodes base64, of which the padding may be left out.

    Raises:
        ValueError: it is none.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def read_tensor(name: str, value: Any, dtype: int) -> tensor_pb2.TensorProto:
    """Reads a value, or lists of lists of values.

    Args:
        name: of the input, for errors.
        value: as it was parsed.
        dtype: number of TensorFlow's type.

    Raises:
        RequestError: INVALID_ARGUMENT, the lists differ in length or a value is of another type or range;
            UNIMPLEMENTED, JSON has no values of this type.
    """
    shape, values = _flat(name, value)
    kind = tf.as_dtype(dtype)
    if kind == tf.string:
        strings = [_bytes(name, item) for item in values]
        proto = tensor_pb2.TensorProto(dtype=dtype, string_val=strings)
    else:
        array = _numbers(name, values, kind)
        proto = tensor_pb2.TensorProto(dtype=dtype, tensor_content=array.tobytes())
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def written(name: str, array: np.ndarray) -> Any:
    """A tensor as what `json.dumps` takes.

    Args:
        name: of the output. Where it ends in `_bytes`, strings are written as base64.
        array: its values.

    Raises:
        RequestError: INTERNAL, JSON has no such values.
    """
    if array.dtype == object:
        return _each(array, _base64 if name.endswith("_bytes") else lambda item: _text(name, item))
    if np.issubdtype(array.dtype, np.integer) or array.dtype == bool:
        return array.tolist()
    if not tf.as_dtype(array.dtype).is_floating:
        raise _unwritable(f"Failed to write JSON value for tensor type: {tf.as_dtype(array.dtype).name}")
    if not np.isfinite(array).all():
        raise _unwritable(f'output "{name}" holds NaN or infinity, which JSON has no numbers for')
    if array.dtype == np.float64:
        return array.tolist()
    # The shortest digits that mean this number, not those of the double nearest to it.
    return array.astype(np.float32).astype("U32").astype(np.float64).tolist()


def _flat(name: str, value: Any) -> tuple[list[int], list[Any]]:
    """Shape and values in one list."""
    shape: list[int] = []
    values = [value]
    while values and isinstance(values[0], list):
        size = len(values[0])
        for item in values:
            if not isinstance(item, list):
                raise _wrong(name, item, f"found at incorrect level: {len(shape) + 1} in the JSON DOM, beside a list")
            if len(item) != size:
                raise invalid_argument(
                    f'input "{name}": Encountered list at unexpected size: {len(item)} at level: {len(shape)} '
                    f"expected size: {size}"
                )
        shape.append(size)
        if len(shape) > MAX_RANK:
            raise invalid_argument(f'input "{name}" must have at most {MAX_RANK} dimensions')
        values = list(chain.from_iterable(values))
    for item in values:
        if isinstance(item, list):
            raise _wrong(name, item, f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return shape, values


def _numbers(name: str, values: list[Any], kind: tf.DType) -> np.ndarray:
    accepted = _accepted(name, kind)
    for item in values:
        if type(item) not in accepted:
            raise _wrong_type(name, item, kind)
    if kind in (tf.float32, tf.float64):
        return _decimals(name, values, kind)
    if kind != tf.bool and values:
        limits = np.iinfo(kind.as_numpy_dtype)
        for item in (min(values), max(values)):
            if not limits.min <= item <= limits.max:
                raise _wrong(name, item, f"is not within the range of type: {kind.name}")
    return np.array(values, kind.as_numpy_dtype)


def _accepted(name: str, kind: tf.DType) -> set[type]:
    if kind == tf.bool:
        return {bool}
    if kind.is_integer and not kind.is_quantized:
        return {int}
    if kind in (tf.float32, tf.float64):
        return {int, float}
    raise RequestError(
        grpc.StatusCode.UNIMPLEMENTED,
        f'input "{name}": no conversion of a JSON Value to type: {kind.name}; call Predict of gRPC instead',
    )


def _decimals(name: str, values: list[float], kind: tf.DType) -> np.ndarray:
    dtype = kind.as_numpy_dtype
    # Integers beyond this have neighbours that this type does not know.
    exact = 2 ** (np.finfo(dtype).nmant + 1) - 1
    largest = float(np.finfo(dtype).max)
    if values and max(max(values), -min(values)) > exact:
        for item in values:
            if abs(item) > (exact if isinstance(item, int) else largest):
                raise _wrong(name, item, f"cannot be converted to {kind.name} without loss of precision")
    return np.array(values, dtype)


def _bytes(name: str, value: Any) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        if is_base64(value):
            return bytes_of_base64(value[BASE64])
    except ValueError as error:
        raise _wrong(name, value, "is neither text nor base64") from error
    if isinstance(value, dict):
        raise _wrong(name, value, "not formatted correctly for base64 data")
    raise _wrong_type(name, value, tf.string)


def _wrong_type(name: str, value: Any, kind: tf.DType) -> RequestError:
    given = _TYPES.get(type(value), "Null")
    return _wrong(name, value, f"Type: {given} is not of expected type: {kind.name}")


def _wrong(name: str, value: Any, text: str) -> RequestError:
    return invalid_argument(f'input "{name}": JSON Value: {reprlib.repr(value)} {text}')


def _each(array: np.ndarray, write: Any) -> Any:
    if array.ndim == 0:
        return write(array.item())
    return [_each(row, write) if isinstance(row, np.ndarray) else write(row) for row in array]


def _base64(item: bytes | str) -> dict[str, str]:
    data = item.encode() if isinstance(item, str) else item
    return {BASE64: base64.b64encode(data).decode()}


def _text(name: str, item: bytes | str) -> str:
    try:
        return item if isinstance(item, str) else item.decode()
    except UnicodeDecodeError as error:
        raise _unwritable(
            f'output "{name}" holds bytes that are no text, and its name does not end in _bytes'
        ) from error


def _unwritable(text: str) -> RequestError:
    return RequestError(grpc.StatusCode.INTERNAL, f"{text}; call Predict of gRPC instead")
