"""Tensors on the wire: TensorProto to numpy and back."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.errors import invalid_argument

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


def to_array(name: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Reads a tensor that a client sent.

    Args:
        name: the input's name, for the error.
        proto: the tensor.

    Returns:
        The tensor's values; strings as an object array of bytes.

    Raises:
        RequestError: INVALID_ARGUMENT, the proto does not describe a tensor.
    """
    shape = proto.tensor_shape
    # make_ndarray would read an unknown rank as a scalar and a negative size as "whatever fits".
    if shape.unknown_rank or any(dim.size < 0 for dim in shape.dim):
        raise invalid_argument(f"tensor parsing error: {name}")
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
