"""A client that means no harm: a good photo every 50 ms, by gRPC. For `serving_attack.py`."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

import grpc
import numpy as np
from server_process import photo

from serving.client.messages import PredictRequest, PredictResponse
from serving.client.tensors import to_array

PREDICT = "/tensorflow.serving.PredictionService/Predict"
PERIOD = 0.05
TIMEOUT = 10.0


def request_of(*files: bytes) -> Any:
    """A request for the embeddings of photos."""
    request = PredictRequest()
    request.model_spec.name = "keras_sare"
    tensor = request.inputs["image_bytes"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=len(files))
    tensor.string_val.extend(files)
    return request


class Innocent:
    """The client, in a process of its own, so that the attackers' work in this one does not delay it.

    Args:
        address: of the server.
    """

    def __init__(self, address: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, others = context.Pipe()
        self._process = context.Process(target=_run, args=(address, others), daemon=True)
        self._process.start()
        self._connection.recv()

    def take(self) -> tuple[list[float], list[str]]:
        """Milliseconds of the requests that were answered since the last time, and what went wrong with others."""
        self._connection.send("take")
        milliseconds, errors = self._connection.recv()
        return milliseconds, errors

    def end(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.join()


def _run(address: str, connection: Connection) -> None:
    request = request_of(photo())
    with grpc.insecure_channel(address) as channel:
        predict = channel.unary_unary(PREDICT, PredictRequest.SerializeToString, PredictResponse.FromString)
        expected = to_array(predict(request, timeout=60, wait_for_ready=True).outputs["embedding"])
        connection.send("ready")
        milliseconds: list[float] = []
        errors: list[str] = []
        due = time.monotonic()
        while True:
            due = max(due + PERIOD, time.monotonic())
            if connection.poll(max(due - time.monotonic(), 0)):
                connection.recv()
                connection.send((milliseconds, errors))
                milliseconds = []
                errors = []
                continue
            begun = time.perf_counter()
            try:
                answer = to_array(predict(request, timeout=TIMEOUT).outputs["embedding"])
            except grpc.RpcError as error:
                errors.append(f"{error.code().name}: {error.details()}")
                continue
            milliseconds.append(1000 * (time.perf_counter() - begun))
            if not np.array_equal(answer, expected):
                errors.append("another embedding")
