"""TensorFlow Serving's addresses, forms and codes."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from tensorflow_serving.apis import model_pb2

from serving.errors import RequestError
from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rpc.access_log import AccessLog
from serving.rpc.credentials import Tokens
from serving.scheduling.quota import Quota

PREDICT = "/v1/models/keras_sare:predict"
COMBINE = {"signature_name": "combine", "inputs": {"left": [1.5, -2], "right": 3}}


def b64(file: Path) -> dict[str, str]:
    return {"b64": base64.b64encode(file.read_bytes()).decode()}


def ask(client: TestClient, body: Any, path: str = PREDICT) -> tuple[int, Any]:
    answer = client.post(path, json=body)
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json()


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/keras_sare/versions/7:predict"])
def test_files_become_embeddings_by_rows_and_by_columns(
    client: TestClient, files: list[Path], embeddings: np.ndarray, path: str
) -> None:
    images = [b64(file) for file in files]
    rows = [{"image_bytes": image} for image in images]
    for body in ({"instances": images}, {"instances": rows}):
        code, answer = ask(client, body, path)
        assert (code, list(answer)) == (200, ["predictions"])
        np.testing.assert_allclose(answer["predictions"], embeddings, atol=1e-6)
    for body in ({"inputs": images}, {"inputs": {"image_bytes": images}}):
        code, answer = ask(client, body, path)
        assert (code, list(answer)) == (200, ["outputs"])
        np.testing.assert_allclose(answer["outputs"], embeddings, atol=1e-6)


def test_tensors_become_embeddings(client: TestClient, pictures: np.ndarray, embeddings: np.ndarray) -> None:
    _, answer = ask(client, {"signature_name": "images", "instances": pictures.tolist()})
    np.testing.assert_allclose(answer["predictions"], embeddings, atol=1e-6)


def test_several_outputs_stand_under_their_names(client: TestClient) -> None:
    expected = {"sum": [4.5, 1.0], "product": [4.5, -6.0], "text": ["1.500000", "-2.000000"]}
    assert ask(client, COMBINE) == (200, {"outputs": expected})


@pytest.mark.parametrize(
    ("path", "body", "code", "text"),
    [
        ("other:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(other)"),
        (
            "keras_sare/versions/99:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(keras",
        ),
        ("keras_sare/versions/0:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(keras"),
        ("keras_sare/labels/stable:predict", {"instances": [1]}, 400, "Unrecognized servable version label: stable"),
        ("keras_sare/versions/9223372036854775808:predict", {}, 400, "Failed to convert version: 9223372036854775808"),
        ("keras_sare/versions/new:predict", {}, 400, "Malformed request: POST /v1/models/keras_sare/versions/new:pred"),
        ("a:b:predict", {}, 400, "Malformed request: POST /v1/models/a:b:predict"),
        ("keras_sare:classify", {}, 501, "Only predict is offered"),
        ("keras_sare:regress", {}, 501, "Only predict is offered"),
        ("keras_sare:run", {}, 400, "Malformed request: POST /v1/models/keras_sare:run"),
        ("keras_sare", {}, 400, "Malformed request: POST /v1/models/keras_sare"),
        ("keras_sare:predict", {"instances": [{"b64": "bm8gaW1hZ2U="}]}, 400, "Unknown image file format. One of JPEG"),
        (
            "keras_sare:predict",
            {"signature_name": "s", "inputs": 1},
            400,
            'Serving signature name: "s" not found in',
        ),
    ],
)
def test_errors_have_tensorflow_servings_codes_and_texts(
    client: TestClient, path: str, body: Any, code: int, text: str
) -> None:
    received, answer = ask(client, body, f"/v1/models/{path}")
    assert (received, list(answer)) == (code, ["error"])
    assert answer["error"].startswith(text)


def test_the_status_is_that_of_grpc_in_json(client: TestClient) -> None:
    status = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("", "/versions/7", "/labels/stable"):
        answer = client.get(f"/v1/models/keras_sare{path}")
        assert (answer.status_code, answer.json()) == (200, {"model_version_status": [status]})
    for path, text in (("other", "any versions of model other"), ("keras_sare/versions/8", "version 8 of model keras")):
        answer = client.get(f"/v1/models/{path}")
        assert answer.status_code == 404
        assert answer.json()["error"].startswith(f"Could not find {text}")


def test_the_metadata_are_the_signatures(client: TestClient) -> None:
    answer = client.get("/v1/models/keras_sare/metadata").json()
    assert answer["model_spec"] == {"name": "keras_sare", "signature_name": "", "version": "7"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    assert signature["inputs"]["image_bytes"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    assert client.get("/v1/models/keras_sare/labels/x/metadata").status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/", 404), ("GET", "/v1/models", 400), ("GET", PREDICT, 400), ("DELETE", "/v1/models/a", 400)],
)
def test_other_addresses_are_errors_in_json(client: TestClient, method: str, path: str, code: int) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (code, ["error"])


def test_metrics_stand_under_tensorflow_servings_address(
    connect: Callable[..., TestClient], manager: ModelManager
) -> None:
    client = connect(manager)
    ask(client, COMBINE)
    ask(client, COMBINE, "/v1/models/made-up:predict")
    text = client.get("/monitoring/prometheus/metrics").text
    assert ':tensorflow:serving:request_count{model_name="keras_sare",status="OK"} 1.0\n' in text
    assert ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"} 1.0\n' in text
    count = ':tensorflow:serving:request_latency_count{API="predict",entrypoint="REST",model_name="keras_sare"} 1.0\n'
    assert count in text
    assert "made-up" not in text
    assert len(list(text_string_to_metric_families(text))) > 5


class Broken:
    """A model that answers what JSON cannot say, or not at all."""

    version = 1

    def __init__(self, manager: ModelManager, outputs: dict[str, np.ndarray] | Exception) -> None:
        with manager.find(model_pb2.ModelSpec(name="keras_sare")) as model:
            self.signature_defs = model.signature_defs
        self.outputs = outputs

    def predict(self, *_: Any) -> dict[str, np.ndarray]:
        if isinstance(self.outputs, Exception):
            raise self.outputs
        return self.outputs


def served(connect: Any, manager: ModelManager, outputs: Any) -> TestClient:
    return connect(ModelManager.from_models("keras_sare", [Broken(manager, outputs)]))


@pytest.mark.parametrize(
    ("outputs", "code", "text"),
    [
        ({"a": np.float32([np.nan])}, 500, 'output "a" holds NaN or infinity, which JSON has no numbers for'),
        ({"a": np.float16([np.inf])}, 500, 'output "a" holds NaN or infinity'),
        ({"a": np.complex64([1])}, 500, "Failed to write JSON value for tensor type: complex64"),
        ({"a": np.array([b"\xff"], object)}, 500, 'output "a" holds bytes that are no text'),
        (ZeroDivisionError("secret"), 500, "The server failed; its log tells why"),
        (RequestError(grpc.StatusCode.UNAVAILABLE, "full"), 503, "full"),
        (RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "late"), 504, "late"),
    ],
)
def test_what_cannot_be_answered_is_an_error(
    connect: Callable[..., TestClient], manager: ModelManager, outputs: Any, code: int, text: str
) -> None:
    received, answer = ask(served(connect, manager, outputs), COMBINE)
    assert received == code
    assert answer["error"].startswith(text)
    assert "secret" not in answer["error"]


def test_outputs_are_written_shortly_and_bytes_as_base64(
    connect: Callable[..., TestClient], manager: ModelManager
) -> None:
    outputs = {
        "a": np.float32([[0.2, 1e-7], [3, -1]]),
        "b_bytes": np.array([b"\xff", b""], object),
        "c": np.int64([2**53 + 1, 0]),
        "d": np.array([True, False]),
    }
    client = served(connect, manager, outputs)
    rows = [
        {"a": [0.2, 1e-7], "b_bytes": {"b64": "/w=="}, "c": 2**53 + 1, "d": True},
        {"a": [3.0, -1.0], "b_bytes": {"b64": ""}, "c": 0, "d": False},
    ]
    body = {"instances": [{"left": 1, "right": 1}], "signature_name": "combine"}
    assert ask(client, body) == (200, {"predictions": rows})
    for name, array in (("e", np.float32(1)), ("e", np.zeros(3))):
        outputs[name] = array
        code, answer = ask(client, body)
        assert code == 400
        assert answer["error"].startswith("Tensor name: e has ")
    assert ask(client, COMBINE)[0] == 200


def test_limits_quotas_and_tokens_are_those_of_grpc(connect: Callable[..., TestClient], manager: ModelManager) -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    settings = {"tokens": Tokens({"garden": "0123456789abcdef"}), "quota": Quota(images_per_second=0.1), "log": log}
    client = connect(manager, Limits(images=1, message_bytes=1000), **settings)
    for path in ("/v1/models/keras_sare", "/monitoring/prometheus/metrics", "/openapi.json"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    client.headers["authorization"] = "Bearer 0123456789abcdef"
    code, answer = ask(client, {"instances": ["a", "b"]})
    assert code == 400
    assert answer["error"].startswith('input "image_bytes" must hold at most 1 images (`max_images`)')
    code, answer = ask(client, {"instances": ["a"]})
    assert code == 429
    assert answer["error"].startswith("A client may send at most 0.1 images a second")
    code, answer = ask(client, {"instances": ["a" * 1000]})
    assert (code, answer) == (413, {"error": "The request must have at most 1000 bytes (`max_message_bytes`)"})
    text = client.get("/monitoring/prometheus/metrics").text
    for limit in ("max_images", "max_client_images_per_second", "max_message_bytes"):
        assert f':keras_sare:serving:refusals{{limit="{limit}"}} 1.0\n' in text
    log.close()
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [record["code"] for record in records[:3]] == ["UNAUTHENTICATED"] * 3
    assert [record["client"] for record in records[3:]] == ["garden"] * 4
    assert (records[3]["method"], records[3]["model"], records[3]["images"]) == ("REST/predict", "keras_sare", 1)


def test_a_body_in_pieces_is_bounded_while_it_arrives(
    connect: Callable[..., TestClient], manager: ModelManager
) -> None:
    client = connect(manager, Limits(message_bytes=1000))
    assert client.post(PREDICT, content=iter([json.dumps(COMBINE).encode(), b" " * 500])).status_code == 200
    assert client.post(PREDICT, content=iter([b" " * 600] * 2)).status_code == 413
    client = connect(manager, Limits(bytes_in_flight=1000))
    answer = client.post(PREDICT, content=iter([b" " * 600] * 2))
    assert answer.status_code == 429
    assert "`max_bytes_in_flight`" in answer.json()["error"]
    answer = client.post(PREDICT, content=b"", headers={"content-encoding": "gzip"})
    assert answer.json() == {"error": "The request must not be compressed: send it without Content-Encoding"}
