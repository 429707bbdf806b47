"""Tensors on the wire."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.errors import RequestError
from serving.limits import Limits
from serving.wire.tensors import images_in, to_array, to_proto

NUMBERS = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
OTHERS = ["float16", "bfloat16", "complex64", "complex128"]
QUANTISED = ["qint8", "quint8", "qint16", "quint16", "qint32"]
FIELDS = {
    "half_val": ("float16", "bfloat16"),
    "float_val": ("float32",),
    "double_val": ("float64",),
    "int_val": ("int8", "int16", "int32", "uint8", "uint16", *QUANTISED),
    "int64_val": ("int64",),
    "uint32_val": ("uint32",),
    "uint64_val": ("uint64",),
    "bool_val": ("bool",),
    "scomplex_val": ("complex64",),
    "dcomplex_val": ("complex128",),
    "string_val": ("string",),
}
ANY_SIZE = Limits(images=2**62, values=2**62)


def proto_of(dtype: str, shape: tuple[int, ...], **values: object) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(dtype).as_datatype_enum, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def refusal(proto: tensor_pb2.TensorProto, limits: Limits = ANY_SIZE) -> str:
    with pytest.raises(RequestError) as caught:
        to_array("x", proto, limits)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    return caught.value.text


@pytest.mark.parametrize("dtype", [*NUMBERS, *OTHERS])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_numbers_survive_the_way_there_and_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
    result = to_array("x", to_proto(array), Limits())
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


def test_strings_survive_the_way_there_and_back() -> None:
    array = np.array([[b"a", b""], [b"\x00\xff", b"b"]], dtype=object)
    np.testing.assert_array_equal(to_array("x", to_proto(array), Limits()), array)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_values_stand_in_the_field_of_their_type(dtype: str) -> None:
    proto = to_proto(np.ones((2, 2), dtype))
    assert not proto.tensor_content
    assert sum(len(values) for field, values in proto.ListFields() if field.name.endswith("_val")) == 4


def test_extreme_values_survive() -> None:
    array = np.array([np.nan, np.inf, -np.inf, np.finfo(np.float32).tiny, np.finfo(np.float32).max], np.float32)
    np.testing.assert_array_equal(to_array("x", to_proto(array), Limits()), array)


@pytest.mark.parametrize(("field", "dtype"), [(field, dtype) for field, dtypes in FIELDS.items() for dtype in dtypes])
def test_values_in_a_field_are_as_many_as_the_shape_says(field: str, dtype: str) -> None:
    entries = 2 if "complex" in dtype else 1
    one = b"1" if dtype == "string" else 1
    for shape, count in (((), 1), ((2, 3), 6), ((0,), 0), ((0, 3), 0)):
        assert to_array("x", proto_of(dtype, shape, **{field: [one] * count * entries}), Limits()).shape == shape
    # 2**40 values would be terabytes: nothing can have been allocated for them.
    for shape, count in (((), 0), ((), 2), ((6,), 1), ((6,), 5), ((6,), 7), ((6,), 0), ((0,), 1), ((2**40,), 1)):
        text = refusal(proto_of(dtype, shape, **{field: [one] * count * entries}))
        wanted = int(np.prod(shape, dtype=np.int64)) * entries
        assert text == (
            f"tensor parsing error: x: a tensor of shape {list(shape)} must have {wanted} values in {field}. "
            f"Received: {count * entries}"
        )


@pytest.mark.parametrize("dtype", [*NUMBERS, *OTHERS, *QUANTISED])
def test_bytes_of_a_content_are_as_many_as_the_shape_says(dtype: str) -> None:
    size = tf.as_dtype(dtype).size
    for shape, count in (((), 1), ((2, 3), 6)):
        assert to_array("x", proto_of(dtype, shape, tensor_content=bytes(size * count)), Limits()).shape == shape
    for shape, length in (((6,), size), ((6,), 6 * size - 1), ((6,), 6 * size + 1), ((2**40,), size), ((0,), size)):
        text = refusal(proto_of(dtype, shape, tensor_content=bytes(length)))
        assert text.endswith(f"must have {int(np.prod(shape, dtype=np.int64)) * size} bytes. Received: {length}")


def test_strings_stand_in_their_field_not_in_the_content() -> None:
    assert "must have 1 values in string_val" in refusal(proto_of("string", (1,), tensor_content=b"\x01a"))


@pytest.mark.parametrize("dtype", ["resource", "variant", "float8_e5m2", "int4", "float32_ref"])
def test_types_that_no_client_can_send_are_refused(dtype: str) -> None:
    assert refusal(proto_of(dtype, ())) == "tensor parsing error: x"
    assert refusal(proto_of(dtype, (1,), tensor_content=b"1234567890123456")) == "tensor parsing error: x"


@pytest.mark.parametrize("shape", [(2**62, 2**62), (0, 2**40), (2**40, 0, 2**40), (2**21, 2, 3)])
def test_the_number_of_values_is_bounded_even_where_a_zero_hides_it(shape: tuple[int, ...]) -> None:
    text = refusal(proto_of("float32", shape, float_val=[1]), Limits())
    assert text.startswith(f'input "x" must hold at most {2**23} values (`max_values`); send fewer or smaller images')
    assert text.endswith(f"Received: shape={list(shape)}")


@pytest.mark.parametrize(("dtype", "shape"), [("string", (17,)), ("string", (1, 17)), ("float32", (17, 1, 1, 3))])
def test_the_number_of_images_is_bounded(dtype: str, shape: tuple[int, ...]) -> None:
    text = refusal(proto_of(dtype, shape), Limits(images=16))
    assert text.startswith(
        'input "x" must hold at most 16 images (`max_images`); send the others in further requests. Received: shape'
    )


@pytest.mark.parametrize(
    ("dtype", "shape", "images"),
    [("string", (3,), 3), ("string", (), 1), ("float32", (5, 8, 8, 3), 5), ("float32", (5, 8), 0)],
)
def test_images_of_a_tensor_are_its_strings_or_rows(dtype: str, shape: tuple[int, ...], images: int) -> None:
    assert images_in(proto_of(dtype, shape)) == images


@pytest.mark.parametrize("shape", [(-5, 8, 8, 3), (0, 8, 8, 3), (-5,)])
def test_images_of_a_tensor_are_never_negative(shape: tuple[int, ...]) -> None:
    assert images_in(proto_of("float32", shape)) == 0
    assert images_in(proto_of("string", shape)) >= 0


def test_values_that_are_no_images_are_not_counted_as_such() -> None:
    assert to_array("x", to_proto(np.zeros(17, np.float32)), Limits(images=16)).shape == (17,)


def test_one_value_fills_a_whole_shape_where_there_are_no_limits() -> None:
    np.testing.assert_array_equal(to_array("x", proto_of("float32", (3,), float_val=[4.0]), None), [4.0, 4.0, 4.0])


def broken(change: str) -> tensor_pb2.TensorProto:
    proto = tf.make_tensor_proto(np.ones((2, 2), np.float32))
    if change == "no dtype":
        proto.dtype = types_pb2.DT_INVALID
    elif change == "negative size":
        proto.tensor_shape.dim[0].size = -1
    elif change == "unknown rank":
        proto.tensor_shape.unknown_rank = True
    elif change == "huge rank":
        proto.tensor_shape.CopyFrom(tf.TensorShape([1] * 1000).as_proto())
    elif change == "number out of range":
        proto = proto_of("int8", (1,), int_val=[300])
    return proto


@pytest.mark.parametrize("limits", [Limits(), None])
@pytest.mark.parametrize("change", ["no dtype", "negative size", "unknown rank", "huge rank", "number out of range"])
def test_a_proto_that_is_no_tensor_is_refused_by_name(change: str, limits: Limits | None) -> None:
    with pytest.raises(RequestError, match="^tensor parsing error: images$"):
        to_array("images", broken(change), limits)


@pytest.mark.parametrize("limit", [{"message_bytes": 0}, {"images": 0}, {"values": -1}, {"seconds": 0.0}])
def test_limits_that_admit_nothing_are_refused(limit: dict[str, float]) -> None:
    name, value = next(iter(limit.items()))
    with pytest.raises(ValueError, match=rf"`{name}` must be .* Received: {name}={value}"):
        Limits(**limit)
