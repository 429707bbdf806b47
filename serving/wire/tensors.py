"""Tensors on the wire: TensorProto to numpy and back."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.errors import invalid_argument
from serving.limits import MAX_RANK, Limits

_TYPED_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int8: "int_val",
    tf.int16: "int_val",
    tf.int32: "int_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}
# Types that a server only reads. Those that are in neither table, such as resources, are handles of a process's own.
_FIELDS = _TYPED_FIELDS | {
    tf.float16: "half_val",
    tf.bfloat16: "half_val",
    tf.complex64: "scomplex_val",
    tf.complex128: "dcomplex_val",
}
_FIELDS |= dict.fromkeys((tf.qint8, tf.quint8, tf.qint16, tf.quint16, tf.qint32), "int_val")
_ENTRIES_PER_VALUE = {"scomplex_val": 2, "dcomplex_val": 2}


def to_array(name: str, proto: tensor_pb2.TensorProto, limits: Limits | None) -> np.ndarray:
    """Reads a tensor that a client sent.

    Args:
        name: the input's name, for the error.
        proto: the tensor.
        limits: that it must keep to, before anything is allocated for it. None for a tensor of one's own, as a warm-up
            request has it: of any size, and one value may stand for all.

    Returns:
        The tensor's values; strings as an object array of bytes.

    Raises:
        RequestError: INVALID_ARGUMENT, the proto does not describe a tensor, the values sent are not as many as its
            shape says, or it is beyond the limits.
    """
    shape = proto.tensor_shape
    # make_ndarray would read an unknown rank as a scalar and a negative size as "whatever fits".
    if shape.unknown_rank or len(shape.dim) > MAX_RANK or any(dim.size < 0 for dim in shape.dim):
        raise invalid_argument(f"tensor parsing error: {name}")
    if limits is not None:
        _check_size(name, proto, limits)
        _check_values(name, proto)
    try:
        return tf.make_ndarray(proto)
    except (KeyError, MemoryError, OverflowError, TypeError, ValueError) as error:
        raise invalid_argument(f"tensor parsing error: {name}") from error


def to_proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Writes a tensor for a client.

    TensorFlow Serving fills the field of the type (`float_val`, ...) and clients read that field, whereas
    `tf.make_tensor_proto` would leave it empty and fill `tensor_content`.

    Args:
        array: values of any dtype TensorFlow has; strings as an object array of bytes.
    """
    dtype = tf.as_dtype(array.dtype)
    field = _TYPED_FIELDS.get(dtype)
    if field is None:
        return tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto


def images_in(proto: tensor_pb2.TensorProto) -> int:
    """Images that a tensor says to hold: each of its strings, or each row of a tensor of four dimensions."""
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if proto.dtype == tf.string.as_datatype_enum:
        return math.prod(max(size, 1) for size in sizes)
    return max(sizes[0], 0) if len(sizes) == 4 else 0


def _check_size(name: str, proto: tensor_pb2.TensorProto, limits: Limits) -> None:
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    # A size of zero hides those beside it, and TensorFlow ends the process where their product overflows.
    values = math.prod(max(size, 1) for size in sizes)
    if values > limits.values:
        raise invalid_argument(
            f'input "{name}" must hold at most {limits.values} values (`max_values`); send fewer or smaller images a '
            f"request. Received: shape={sizes}",
            "max_values",
        )
    images = images_in(proto)
    if images > limits.images:
        raise invalid_argument(
            f'input "{name}" must hold at most {limits.images} images (`max_images`); send the others in further '
            f"requests. Received: shape={sizes}",
            "max_images",
        )


def _check_values(name: str, proto: tensor_pb2.TensorProto) -> None:
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    try:
        dtype = tf.as_dtype(proto.dtype)
        field = _FIELDS[dtype]
    except (KeyError, TypeError) as error:
        raise invalid_argument(f"tensor parsing error: {name}") from error
    wanted = math.prod(sizes)
    if proto.tensor_content and field != "string_val":
        unit = "bytes"
        wanted = wanted * np.dtype(dtype.as_numpy_dtype).itemsize
        sent = len(proto.tensor_content)
    else:
        unit = f"values in {field}"
        wanted = wanted * _ENTRIES_PER_VALUE.get(field, 1)
        sent = len(getattr(proto, field))
    if sent != wanted:
        raise invalid_argument(
            f"tensor parsing error: {name}: a tensor of shape {sizes} must have {wanted} {unit}. Received: {sent}"
        )
