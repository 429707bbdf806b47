"""A server that does what a test tells it, behind TensorFlow Serving's own stubs."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

Refusal = tuple[grpc.StatusCode, str]
DAMAGED = b"damaged"


class ScriptedServer(
    prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer
):
    """Answers files with their length and sum; calls `before` first, refuses what `refuse` says, keeps what it got.

    Files that begin with `DAMAGED` have an error in `tolerant` and fail the request in `serving_default`.
    """

    def __init__(self) -> None:
        self.signatures: dict[str, tuple[list[str], list[str]]] = {
            "serving_default": (["image_bytes"], ["embedding"]),
            "tolerant": (["image_bytes"], ["embedding", "error"]),
        }
        self.refuse: Callable[[Sequence[bytes]], Refusal | None] = lambda _: None
        self.before: Callable[[Any, Any], None] = lambda *_: None
        self.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        self.received: list[list[bytes]] = []
        self.specs: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self._lock = Lock()

    @staticmethod
    def embeddings(files: Sequence[bytes]) -> np.ndarray:
        """What it answers to files."""
        return np.array([[len(file), sum(file) % 251, 1.0] for file in files], np.float32).reshape(-1, 3)

    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> Any:
        self.before(request, context)
        files = list(request.inputs["image_bytes"].string_val)
        with self._lock:
            self.received.append(files)
            self.specs.append(request.model_spec)
            self.metadata.append(dict(context.invocation_metadata()))
            refusal = self.refuse(files)
        if refusal:
            context.abort(*refusal)
        errors = [f"image {i}: broken" if file.startswith(DAMAGED) else "" for i, file in enumerate(files)]
        response = predict_pb2.PredictResponse()
        if request.model_spec.signature_name == "tolerant":
            response.outputs["error"].CopyFrom(tf.make_tensor_proto(errors))
        elif any(errors):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(filter(None, errors)))
        response.outputs["embedding"].CopyFrom(tf.make_tensor_proto(self.embeddings(files)))
        return response

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.model_spec.name != "keras_sare":
            context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model")
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=7, state=self.state)
        return response

    def GetModelMetadata(self, _: Any, context: grpc.ServicerContext) -> Any:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, (inputs, outputs) in self.signatures.items():
            for one in inputs:
                signatures.signature_def[name].inputs[one].name = one
            for one in outputs:
                signatures.signature_def[name].outputs[one].name = one
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response


@pytest.fixture
def scripted() -> ScriptedServer:
    return ScriptedServer()


class Listener:
    """Lets a server listen on an address, encrypted where credentials are given. Called, it returns the port."""

    def __init__(self, scripted: ScriptedServer) -> None:
        self._scripted = scripted
        self._server: Any = None
        self._port = 0

    def __call__(self, address: str = "127.0.0.1:0", credentials: Any = None) -> int:
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 2**20)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self._scripted, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self._scripted, self._server)
        add = partial(self._server.add_secure_port, server_credentials=credentials)
        self._port = (add if credentials else self._server.add_insecure_port)(address)
        self._server.start()
        return self._port

    def restart(self) -> None:
        """Ends the server at once, whatever is under way, and starts another one on its port."""
        self.stop()
        self(f"127.0.0.1:{self._port}")

    def stop(self) -> None:
        self._server.stop(0).wait(20)


@pytest.fixture
def listen(scripted: ScriptedServer) -> Iterator[Listener]:
    """Makes the server listen."""
    listener = Listener(scripted)
    yield listener
    listener.stop()


@pytest.fixture
def scripted_address(listen: Listener) -> str:
    return f"127.0.0.1:{listen()}"


@pytest.fixture
def contents() -> list[bytes]:
    """Of 11 files, of different sizes."""
    return [bytes([number + 1]) * (10 + 7 * number) for number in range(11)]


@pytest.fixture
def photos(contents: list[bytes], tmp_path: Path) -> list[str]:
    """Files with `contents`."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{number:02}.jpg" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return list(map(str, paths))
