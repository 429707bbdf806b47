"""ModelService on the wire: states of versions, and another configuration."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.models.config import ModelConfig
from serving.models.manager import ModelManager
from serving.models.versions import Policy
from serving.rpc.server import ModelServer


@pytest.fixture
def served(model_folder: Path, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A server of the versions 2 and 3 of a model, of which 3 is damaged; 1 lies there, too."""
    folder = tmp_path / "places"
    for version in ("1", "2", "3"):
        shutil.copytree(model_folder / "7", folder / version)
    (folder / "3" / "saved_model.pb").write_bytes(b"")
    manager = ModelManager([ModelConfig("places", folder, Policy(most=1))], allow_reload=True)
    server = ModelServer(manager, port=0)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        yield SimpleNamespace(
            folder=folder, manager=manager, models=model_service_pb2_grpc.ModelServiceStub(channel), channel=channel
        )
    server.stop(grace=0)


def states(served: SimpleNamespace) -> list[tuple[int, str, int]]:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "places"})
    found = served.models.GetModelStatus(request, timeout=30).model_version_status
    return [(status.version, status.State.Name(status.state), status.status.error_code) for status in found]


def request(*models: str) -> model_management_pb2.ReloadConfigRequest:
    text = f"config {{ model_config_list {{ {' '.join(models)} }} }}"
    return text_format.Parse(text, model_management_pb2.ReloadConfigRequest())


def model(folder: Path, more: str = "") -> str:
    return f'config {{ name: "places" base_path: "{folder}" model_platform: "tensorflow" {more} }}'


def test_the_status_tells_which_version_failed_and_why(served: SimpleNamespace) -> None:
    assert states(served) == [(3, "END", 15), (2, "AVAILABLE", 0)]
    asked = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "places", "version": {"value": 3}})
    (status,) = served.models.GetModelStatus(asked, timeout=30).model_version_status
    assert "`folder` must hold a SavedModel that TensorFlow can load" in status.status.error_message


def test_a_request_for_another_configuration_is_followed(served: SimpleNamespace) -> None:
    policy = "model_version_policy { specific { versions: 1 } }"
    response = served.models.HandleReloadConfigRequest(request(model(served.folder, policy)), timeout=60)
    assert response.HasField("status")
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert states(served) == [(3, "END", 15), (2, "END", 0), (1, "AVAILABLE", 0)]


def test_a_wrong_one_is_refused_and_changes_nothing(served: SimpleNamespace) -> None:
    reload = served.models.HandleReloadConfigRequest
    twice = request(model(served.folder), model(served.folder))
    assert_refused(reload, twice, "INVALID_ARGUMENT", "Illegal to list model places multiple times")
    nowhere = request(model(served.folder / "nowhere"))
    assert_refused(reload, nowhere, "UNKNOWN", "1 model(s) did not become available: `folder` must be an existing")
    assert served.manager.available() == {"places": [2]}


def assert_refused(method: Any, message: Any, code: str, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        method(message, timeout=60)
    assert caught.value.code().name == code
    assert caught.value.details().startswith(text)


def test_a_server_does_not_follow_such_requests_unless_it_was_told_to(address: str, tmp_path: Path) -> None:
    with grpc.insecure_channel(address) as channel:
        reload = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        assert_refused(reload, request(model(tmp_path)), "PERMISSION_DENIED", "The server does not allow")


def test_a_version_copied_in_under_load_takes_over_and_no_request_is_lost(served: SimpleNamespace) -> None:
    predict = prediction_service_pb2_grpc.PredictionServiceStub(served.channel).Predict
    question = predict_pb2.PredictRequest(model_spec={"name": "places", "signature_name": "images"})
    question.inputs["images"].CopyFrom(tf.make_tensor_proto(np.ones((1, 8, 8, 3), np.float32)))
    switched = threading.Event()

    def ask_until_switched() -> list[int]:
        versions = [predict(question, timeout=60).model_spec.version.value]
        while not switched.is_set():
            versions.append(predict(question, timeout=60).model_spec.version.value)
        return [*versions, predict(question, timeout=60).model_spec.version.value]

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask_until_switched) for _ in range(4)]
        try:
            shutil.copytree(served.folder / "2", served.folder / "4")
            for _ in range(3):
                served.manager.poll()
        finally:
            switched.set()
        answers = [client.result(60) for client in clients]
    assert all(versions == sorted(versions) and set(versions) <= {2, 4} for versions in answers)
    assert {versions[-1] for versions in answers} == {4}
    served.manager.poll()
    assert states(served) == [(4, "AVAILABLE", 0), (3, "END", 15), (2, "END", 0)]
