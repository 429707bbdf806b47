"""Tensors on the wire."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.errors import RequestError
from serving.tensors import to_array, to_proto

NUMBERS = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


@pytest.mark.parametrize("dtype", [*NUMBERS, "float16", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_numbers_survive_the_way_there_and_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    result = to_array("x", to_proto(array))
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


def test_strings_survive_the_way_there_and_back() -> None:
    array = np.array([[b"a", b""], [b"\x00\xff", b"b"]], dtype=object)
    np.testing.assert_array_equal(to_array("x", to_proto(array)), array)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_values_stand_in_the_field_of_their_type(dtype: str) -> None:
    proto = to_proto(np.ones((2, 2), dtype))
    assert not proto.tensor_content
    assert sum(len(values) for field, values in proto.ListFields() if field.name.endswith("_val")) == 4


def test_extreme_values_survive() -> None:
    array = np.array([np.nan, np.inf, -np.inf, np.finfo(np.float32).tiny, np.finfo(np.float32).max], np.float32)
    np.testing.assert_array_equal(to_array("x", to_proto(array)), array)


def test_one_value_fills_a_whole_shape() -> None:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[4.0])
    proto.tensor_shape.dim.add(size=3)
    np.testing.assert_array_equal(to_array("x", proto), [4.0, 4.0, 4.0])


def broken(change: str) -> tensor_pb2.TensorProto:
    proto = tf.make_tensor_proto(np.ones((2, 2), np.float32))
    if change == "short content":
        proto.tensor_content = proto.tensor_content[:-1]
    elif change == "no dtype":
        proto.dtype = types_pb2.DT_INVALID
    elif change == "negative size":
        proto.tensor_shape.dim[0].size = -1
    elif change == "unknown rank":
        proto.tensor_shape.unknown_rank = True
    elif change == "other shape":
        proto.tensor_shape.dim[0].size = 3
    elif change == "resource":
        proto.dtype = types_pb2.DT_RESOURCE
    return proto


@pytest.mark.parametrize(
    "change", ["short content", "no dtype", "negative size", "unknown rank", "other shape", "resource"]
)
def test_a_proto_that_is_no_tensor_is_refused_by_name(change: str) -> None:
    with pytest.raises(RequestError, match="^tensor parsing error: images$"):
        to_array("images", broken(change))
