"""The client's own messages are TensorFlow's on the wire, and TensorFlow stays out of the client."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.wrappers_pb2 import Int64Value
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving.client import messages
from serving.client.tensors import floats_to_proto, strings_to_proto, to_array

PAIRS = [
    (messages.TensorProto, tensor_pb2.TensorProto),
    (messages.PredictRequest, predict_pb2.PredictRequest),
    (messages.PredictResponse, predict_pb2.PredictResponse),
    (messages.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (messages.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (messages.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (messages.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (messages.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
]


def fill(message: Any) -> None:
    """Sets every field that the message has, two entries where it is repeated."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof and message.WhichOneof(field.containing_oneof.name):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            for key in ("a", "b"):
                if value.message_type.full_name == "google.protobuf.Any":
                    getattr(message, field.name)[key].value = b"packed"
                else:
                    fill(getattr(message, field.name)[key])
        elif field.message_type and field.is_repeated:
            fill(getattr(message, field.name).add())
        elif field.message_type:
            fill(getattr(message, field.name))
        else:
            value = example(field)
            if field.is_repeated:
                getattr(message, field.name).extend([value, value])
            else:
                setattr(message, field.name, value)


def example(field: Any) -> Any:
    kinds = {field.TYPE_FLOAT: 1.5, field.TYPE_DOUBLE: -2.25, field.TYPE_STRING: "näme", field.TYPE_BYTES: b"\xff\x00"}
    # A number that an enumeration of the other side knows, too.
    return kinds.get(field.type, True if field.type == field.TYPE_BOOL else 10)


@pytest.mark.parametrize(("own", "theirs"), PAIRS, ids=[theirs.__name__ for _, theirs in PAIRS])
def test_each_field_means_the_same_to_both_sides(own: Any, theirs: Any) -> None:
    message = own()
    fill(message)
    data = message.SerializeToString(deterministic=True)
    read = theirs.FromString(data)
    # What the other side did not know would be kept as unknown fields, and not be found by its names.
    assert names(read) == names(message)
    assert read.SerializeToString(deterministic=True) == data
    assert own.FromString(read.SerializeToString()) == message


def names(message: Any) -> dict[str, Any]:
    """Fields that are set, by name, down to plain values."""
    found = {}
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            found[field.name] = {key: names(value[key]) for key in sorted(value)}
        elif field.message_type and field.is_repeated:
            found[field.name] = [names(one) for one in value]
        else:
            found[field.name] = names(value) if field.message_type else value if not field.is_repeated else list(value)
    return found


def test_a_version_is_there_or_not() -> None:
    request = messages.PredictRequest()
    assert not predict_pb2.PredictRequest.FromString(request.SerializeToString()).model_spec.HasField("version")
    request.model_spec.version.value = 0
    read = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert read.model_spec.WhichOneof("version_choice") == "version"
    assert read.model_spec.version == Int64Value(value=0)
    request.model_spec.version_label = "stable"
    read = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert (read.model_spec.WhichOneof("version_choice"), read.model_spec.version_label) == ("version_label", "stable")


@pytest.mark.parametrize("values", [[], [b""], [b"\xff\xd8photo", b"", b"x" * 1000]])
def test_strings_are_what_tensorflow_makes_of_them(values: list[bytes]) -> None:
    expected = tf.make_tensor_proto(np.array(values, object), tf.string, [len(values)])
    assert strings_to_proto(values).SerializeToString() == expected.SerializeToString()
    assert to_array(strings_to_proto(values)).tolist() == values


@pytest.mark.parametrize("shape", [(2, 3, 5, 3), (7,), (0, 3), ()])
def test_floats_are_what_tensorflow_makes_of_them(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    proto = floats_to_proto(values)
    read = tensor_pb2.TensorProto.FromString(proto.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(read), values.astype(np.float32))
    np.testing.assert_array_equal(to_array(proto), values.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (1,)])
def test_answers_are_read_from_either_field(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(0, 10, shape).astype(dtype)
    packed = tf.make_tensor_proto(values)
    listed = tensor_pb2.TensorProto(dtype=packed.dtype, tensor_shape=packed.tensor_shape)
    field = {"float16": "half_val", "float32": "float_val", "float64": "double_val", "int32": "int_val"}
    flat = values.view(np.uint16) if dtype == "float16" else values
    getattr(listed, field.get(dtype, f"{dtype}_val")).extend(flat.ravel().tolist())
    for proto in (packed, listed):
        read = to_array(messages.TensorProto.FromString(proto.SerializeToString()))
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"dtype": 1, "float_val": [1.0]}, "as many values as its shape says"),
        ({"dtype": 1, "tensor_content": b"12345"}, "whole numbers of bytes"),
        ({"dtype": 14}, "must hold numbers or strings. Received: a tensor of type 14"),
    ],
)
def test_an_answer_that_is_no_tensor_is_refused(fields: dict[str, Any], text: str) -> None:
    proto = messages.TensorProto(**fields)
    proto.tensor_shape.dim.add(size=10**12)
    with pytest.raises(ValueError, match=text):
        to_array(proto)


IMPORTED = """
import sys
from serving.client import AsyncEmbeddingClient, EmbeddingClient
heavy = {"tensorflow", "keras", "tensorflow_serving", "pyarrow", "h5py", "absl"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_the_client_imports_nothing_of_tensorflow() -> None:
    subprocess.run([sys.executable, "-c", IMPORTED], check=True, timeout=60)
