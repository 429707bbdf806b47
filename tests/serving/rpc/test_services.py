"""The wire, spoken with the raw stubs: no line of the project's client takes part."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

SIZE_LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[Any]:
    with grpc.insecure_channel(address, options=SIZE_LIMITS) as channel:
        yield channel


@pytest.fixture
def predictions(channel: Any) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def models(channel: Any) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def addressed(request: Any, name: str = "keras_sare", version: int | None = None, label: str = "") -> Any:
    """The request with its model_spec filled in."""
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    return request


def predict_request(signature: str = "", outputs: tuple[str, ...] = (), **inputs: Any) -> predict_pb2.PredictRequest:
    request = addressed(predict_pb2.PredictRequest(output_filter=outputs))
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def metadata_request(*fields: str, **spec: Any) -> get_model_metadata_pb2.GetModelMetadataRequest:
    return addressed(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields), **spec)


def status_request(**spec: Any) -> get_model_status_pb2.GetModelStatusRequest:
    return addressed(get_model_status_pb2.GetModelStatusRequest(), **spec)


def answer(method: Any, request: Any) -> tuple[str, str]:
    """Name of the status code and text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=30)
    return caught.value.code().name, caught.value.details()


def test_bytes_become_embeddings(predictions: Any, files: list[Path], embeddings: np.ndarray) -> None:
    request = predict_request(image_bytes=[file.read_bytes() for file in files])
    output = predictions.Predict(request, timeout=30).outputs["embedding"]
    assert output.dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in output.tensor_shape.dim] == [5, 3]
    np.testing.assert_allclose(np.reshape(output.float_val, (5, 3)), embeddings, atol=1e-6)


def test_tensors_become_embeddings(predictions: Any, pictures: np.ndarray, embeddings: np.ndarray) -> None:
    request = predict_request("images", images=pictures.astype(np.float32))
    output = predictions.Predict(request, timeout=30).outputs["embedding"]
    np.testing.assert_allclose(np.reshape(output.float_val, (5, 3)), embeddings, atol=1e-6)


@pytest.mark.parametrize("version", [None, 7])
@pytest.mark.parametrize(("sent", "resolved"), [("", "serving_default"), ("images", "images")])
def test_the_model_spec_comes_back_resolved(
    predictions: Any, files: list[Path], version: int | None, sent: str, resolved: str
) -> None:
    inputs = {"images": np.ones((1, 8, 8, 3), np.float32)} if sent else {"image_bytes": [files[0].read_bytes()]}
    request = addressed(predict_request(sent, **inputs), version=version)
    spec = predictions.Predict(request, timeout=30).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("keras_sare", 7, resolved)
    assert spec.WhichOneof("version_choice") == "version"


def test_only_the_outputs_asked_for_are_sent(predictions: Any) -> None:
    request = predict_request("combine", ("text",), left=np.float32([1]), right=np.int64(3))
    outputs = predictions.Predict(request, timeout=30).outputs
    assert list(outputs) == ["text"]
    assert list(outputs["text"].string_val) == [b"1.000000"]


def test_messages_beyond_grpcs_4_mib_pass_both_ways(predictions: Any) -> None:
    left = np.arange(2**20, dtype=np.float32)
    request = predict_request("combine", ("sum",), left=left, right=np.int64(1))
    assert request.ByteSize() > 2**22
    output = predictions.Predict(request, timeout=30).outputs["sum"]
    assert output.ByteSize() > 2**22
    np.testing.assert_array_equal(tf.make_ndarray(output), left + 1)


def test_many_threads_get_their_own_answers(predictions: Any) -> None:
    def embed(number: int) -> np.ndarray:
        image = np.broadcast_to(np.float32([number + 1, 1, 1]), (1 + number % 3, 8, 8, 3))
        response = predictions.Predict(predict_request("images", images=image), timeout=30)
        return tf.make_ndarray(response.outputs["embedding"])

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(embed, range(64)))
    for number, result in enumerate(results):
        expected = np.array([number + 1, 2, 3]) / np.linalg.norm([number + 1, 2, 3])
        np.testing.assert_allclose(result, np.tile(expected, (1 + number % 3, 1)), atol=1e-6)


@pytest.mark.parametrize("method", ["Predict", "GetModelMetadata"])
@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"name": "other"}, "NOT_FOUND", "Servable not found for request: Latest(other)"),
        ({"version": 99}, "NOT_FOUND", "Servable not found for request: Specific(keras_sare, 99)"),
        ({"version": 0}, "NOT_FOUND", "Servable not found for request: Specific(keras_sare, 0)"),
        ({"label": "stable"}, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
    ],
)
def test_a_request_for_another_model_is_refused(
    predictions: Any, method: str, spec: dict[str, Any], code: str, text: str
) -> None:
    request = predict_pb2.PredictRequest() if method == "Predict" else metadata_request("signature_def")
    assert answer(getattr(predictions, method), addressed(request, **spec)) == (code, text)


def test_a_request_without_a_model_spec_is_refused(predictions: Any, models: Any) -> None:
    missing = ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert answer(predictions.Predict, predict_pb2.PredictRequest()) == missing
    assert answer(predictions.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest()) == missing
    assert answer(models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()) == missing


def test_an_unknown_signature_is_a_failed_precondition(predictions: Any) -> None:
    expected = ("FAILED_PRECONDITION", 'Serving signature key "classify" not found.')
    assert answer(predictions.Predict, predict_request("classify")) == expected


def test_inputs_that_do_not_match_are_an_invalid_argument(predictions: Any) -> None:
    code, text = answer(predictions.Predict, predict_request("images", image=0.0, images=0.0))
    assert code == "INVALID_ARGUMENT"
    assert text == (
        "input size does not match signature: 2!=1 len({image,images}) != len({images}). Sent extra: {image}. "
        "Missing but required: {}."
    )


def shaped(dtype: int, shape: tuple[int, ...], **values: Any) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("signature", "name", "tensor"),
    [
        ("", "image_bytes", shaped(types_pb2.DT_STRING, (20000,), string_val=[b"x"])),
        ("images", "images", shaped(types_pb2.DT_FLOAT, (1, 12000, 12000, 3), float_val=[1])),
        ("images", "images", shaped(types_pb2.DT_FLOAT, (1, 12000, 12000, 3))),
    ],
)
def test_a_few_bytes_that_stand_for_a_huge_tensor_are_refused(
    predictions: Any, files: list[Path], signature: str, name: str, tensor: tensor_pb2.TensorProto
) -> None:
    request = predict_request(signature)
    request.inputs[name].CopyFrom(tensor)
    assert request.ByteSize() < 80
    calls = [predictions.Predict.future(request, timeout=30) for _ in range(4)]
    assert [call.exception(timeout=30).code().name for call in calls] == ["INVALID_ARGUMENT"] * 4
    assert predictions.Predict(predict_request(image_bytes=[files[0].read_bytes()]), timeout=30).outputs


@pytest.mark.parametrize(
    ("method", "data", "text"),
    [
        ("PredictionService/Predict", b"\xff\xff", "The request is no PredictRequest"),
        ("PredictionService/Predict", b"\x12\x04\x12\x02\x72\x00", "tensor parsing error: resources and variants"),
        ("PredictionService/GetModelMetadata", b"\xff\xff", "The request is no GetModelMetadataRequest"),
        ("ModelService/GetModelStatus", b"\xff\xff", "The request is no GetModelStatusRequest"),
        ("ModelService/GetModelStatus", b"\0" * (2**16 + 1), "The request must have at most 65536 bytes"),
    ],
)
def test_bytes_that_are_no_request_are_an_invalid_argument(channel: Any, method: str, data: bytes, text: str) -> None:
    code, received = answer(channel.unary_unary(f"/tensorflow.serving.{method}"), data)
    assert code == "INVALID_ARGUMENT"
    assert received.startswith(text)


@pytest.mark.parametrize(
    "method",
    [
        "PredictionService/Classify",
        "PredictionService/Regress",
        "PredictionService/MultiInference",
        "SessionService/SessionRun",
    ],
)
def test_other_methods_are_not_offered_and_their_requests_not_parsed(channel: Any, method: str) -> None:
    code, text = answer(channel.unary_unary(f"/tensorflow.serving.{method}"), b"\xff\xff")
    assert code == "UNIMPLEMENTED"
    assert text.startswith(f"{method.partition('/')[2]} is not offered: it needs ")
    assert text.endswith("; call Predict instead")


def test_a_method_that_does_not_exist_is_unimplemented(channel: Any) -> None:
    assert answer(channel.unary_unary("/tensorflow.serving.PredictionService/Ask"), b"")[0] == "UNIMPLEMENTED"


def test_a_broken_image_is_an_invalid_argument_with_tensorflows_text(predictions: Any, files: list[Path]) -> None:
    code, text = answer(predictions.Predict, predict_request(image_bytes=[files[0].read_bytes(), b"no image"]))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Unknown image file format. One of JPEG, ")


def test_a_long_text_is_cut(predictions: Any) -> None:
    code, text = answer(predictions.Predict, predict_request("x" * 2000))
    assert code == "FAILED_PRECONDITION"
    assert text == 'Serving signature key "' + "x" * (1024 - 23) + "...TRUNCATED"


def test_the_metadata_are_the_signatures_of_the_saved_model(predictions: Any, model_folder: Path) -> None:
    response = predictions.GetModelMetadata(metadata_request("signature_def"), timeout=30)
    assert (response.model_spec.name, response.model_spec.version.value) == ("keras_sare", 7)
    assert response.model_spec.signature_name == ""
    assert list(response.metadata) == ["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    stored = saved_model_pb2.SavedModel.FromString((model_folder / "7" / "saved_model.pb").read_bytes())
    assert dict(signatures.signature_def) == dict(stored.meta_graphs[0].signature_def)
    assert signatures.signature_def["serving_default"].inputs["image_bytes"].dtype == types_pb2.DT_STRING


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ((), "GetModelMetadataRequest must specify at least one metadata_field"),
        (("signature_def", "weights"), "Metadata field weights is not supported"),
    ],
)
def test_other_metadata_are_refused(predictions: Any, fields: tuple[str, ...], text: str) -> None:
    assert answer(predictions.GetModelMetadata, metadata_request(*fields)) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize("spec", [{}, {"version": 7}, {"label": "stable"}])
def test_the_loaded_version_is_available(models: Any, spec: dict[str, Any]) -> None:
    (status,) = models.GetModelStatus(status_request(**spec), timeout=30).model_version_status
    assert (status.version, status.State.Name(status.state)) == (7, "AVAILABLE")
    assert status.HasField("status")
    assert (status.status.error_code, status.status.error_message) == (0, "")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"name": "other"}, "Could not find any versions of model other"),
        ({"version": 99}, "Could not find version 99 of model keras_sare"),
    ],
)
def test_the_status_of_another_model_is_not_found(models: Any, spec: dict[str, Any], text: str) -> None:
    assert answer(models.GetModelStatus, status_request(**spec)) == ("NOT_FOUND", text)
