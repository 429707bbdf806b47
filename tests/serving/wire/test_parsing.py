"""Requests are parsed only where that takes no more than a few times the memory of their bytes."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import predict_pb2

from serving.errors import RequestError
from serving.wire.parsing import parse_predict
from serving.wire.tensors import to_proto


def field(number: int, contents: bytes) -> bytes:
    """A field with contents on the wire."""
    size = bytearray()
    length = len(contents)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + contents


def request_with(tensor: bytes) -> bytes:
    return field(2, field(1, b"x") + field(2, tensor))


def refusal(data: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        parse_predict(data)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    return caught.value.text


@pytest.fixture
def request_of_a_client() -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=["embedding"])
    request.model_spec.name = "keras_sare"
    request.model_spec.version.value = 3
    request.inputs["files"].CopyFrom(tf.make_tensor_proto(np.array([b"\xff\xd8" * 5000] * 16, object)))
    request.inputs["content"].CopyFrom(tf.make_tensor_proto(np.ones((2, 64, 64, 3), np.float32)))
    for dtype in ("float32", "float64", "int32", "int64", "uint32", "uint64", "bool", "float16", "complex64"):
        request.inputs[dtype].CopyFrom(to_proto(np.ones((300, 300), dtype)))
    return request


def test_a_request_of_a_client_is_parsed_as_it_was_sent(request_of_a_client: predict_pb2.PredictRequest) -> None:
    assert parse_predict(request_of_a_client.SerializeToString()) == request_of_a_client
    assert parse_predict(b"") == predict_pb2.PredictRequest()


@pytest.mark.parametrize(
    "data",
    [
        request_with(field(2, field(2, b"") * 70000)),  # sizes of a shape
        request_with(field(8, b"") * 70000),  # strings
        request_with(b"\x28\x00" * 70000),  # numbers, one field each
        request_with(field(2, b"")) * 70000,  # inputs
        field(3, b"") * 70000,  # names of outputs
        field(5, field(2, b"") * 70000),  # dimensions to be split
        request_with(field(2, field(2, b"") * 300)) * 300,
    ],
)
def test_fields_without_number_are_refused(data: bytes) -> None:
    assert refusal(data) == "The request must have at most 16384 fields; send numbers packed"


@pytest.mark.parametrize("number", [14, 15])
def test_handles_of_a_process_are_refused(number: int) -> None:
    assert refusal(request_with(field(number, b""))) == "tensor parsing error: resources and variants cannot be sent"


@pytest.mark.parametrize("data", [b"\x0b\x0c", b"\xff" * 11, b"\x12\xff", b"\x12\x05a", b"\x07"])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    assert refusal(data).startswith("The request ")


def test_damaged_requests_are_refused_or_read_as_protobuf_reads_them() -> None:
    request = predict_pb2.PredictRequest(model_spec={"name": "keras_sare"})
    request.inputs["images"].CopyFrom(to_proto(np.ones((2, 3), np.float32)))
    request.inputs["files"].CopyFrom(tf.make_tensor_proto([b"one", b"two"]))
    whole = request.SerializeToString()
    rng = np.random.default_rng(0)
    refusals = []
    for _ in range(2000):
        data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        data[rng.integers(len(data))] = rng.integers(256)
        text = refusal_of(bytes(data))
        if text is not None:
            refusals.append((text, parses(bytes(data))))
    assert 200 < len(refusals) < 1990
    assert all("resources and variants" in text or "groups" in text for text, parsed in refusals if parsed)


def refusal_of(data: bytes) -> str | None:
    """Why a request is refused; one that is not must be read as protobuf reads it."""
    try:
        received = parse_predict(data)
    except RequestError as error:
        return error.text
    assert received == predict_pb2.PredictRequest.FromString(data)
    return None


def parses(data: bytes) -> bool:
    try:
        predict_pb2.PredictRequest.FromString(data)
    except DecodeError:
        return False
    return True
