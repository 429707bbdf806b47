"""A line of JSON for each call, and errors of clients in the ordinary log."""

import io
import json
import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.models.manager import ModelManager
from serving.rpc.access_log import MOST_TEXT, AccessLog, ClientErrors
from serving.rpc.server import Access, ModelServer


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_call_has_a_line(manager: ModelManager, pictures: np.ndarray) -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    server = ModelServer(manager, port=0, access=Access(log=log))
    server.start()
    request = predict_pb2.PredictRequest(model_spec={"name": "keras_sare", "signature_name": "images"})
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(pictures.astype(np.float32)))
    with grpc.insecure_channel(server.address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        response = predict(request, timeout=20)
        request.model_spec.name = "no\x1b[31m\nmodel"
        assert predict.future(request, timeout=20).exception(timeout=20).code().name == "NOT_FOUND"
    server.stop(grace=5)
    log.close()
    answered, failed = records(stream)
    assert answered["peer"].startswith("ipv4:127.0.0.1:")
    assert answered["client"] == "ipv4:127.0.0.1"
    assert answered["method"] == "/tensorflow.serving.PredictionService/Predict"
    assert (answered["model"], answered["version"], answered["signature"]) == ("keras_sare", 7, "images")
    assert (answered["images"], answered["code"]) == (5, "OK")
    assert answered["bytes_in"] > 5 * 8 * 8 * 3 * 4
    assert answered["bytes_out"] == response.ByteSize()
    assert 0 <= answered["queue_seconds"] < answered["seconds"]
    assert 0 < answered["compute_seconds"] < answered["seconds"]
    assert (failed["model"], failed["code"], failed["bytes_out"]) == ("no\\x1b[31m\\nmodel", "NOT_FOUND", 0)


def test_a_call_whose_client_has_gone_has_a_line(
    slow_server: Callable[..., SimpleNamespace], log_lines: SimpleNamespace
) -> None:
    slow = slow_server(access=Access(log=log_lines.log))
    request = predict_pb2.PredictRequest(model_spec={"name": "slow"})
    under_way = slow.predict.future(request, timeout=20)
    assert slow.model.started.acquire(timeout=20)
    late = slow.predict.future(request, timeout=0.2)
    assert late.exception(timeout=20).code().name == "DEADLINE_EXCEEDED"
    # The client may be the first to know that its time is over, and leave.
    assert json.loads(log_lines.lines.get(timeout=20))["code"] in ("CANCELLED", "DEADLINE_EXCEEDED")
    slow.model.finish.set()
    assert under_way.result(20)
    assert json.loads(log_lines.lines.get(timeout=20))["code"] == "OK"


def test_names_that_a_client_chose_are_cut() -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    log.write({"model": "m" * 10**6})
    log.close()
    assert records(stream) == [{"model": "m" * MOST_TEXT}]


class StuckStream(io.StringIO):
    """A disk that takes nothing until the test says so, and tells when it has taken three lines."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.free = threading.Event()
        self.three = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.free.wait(20)
        size = super().write(text)
        if self.getvalue().count("\n") == 3:
            self.three.set()
        return size


def test_a_stuck_disk_drops_lines_and_counts_them() -> None:
    stream = StuckStream()
    log = AccessLog(stream, most_waiting=2)
    log.write({"number": 0})
    assert stream.reached.wait(20)
    for number in range(1, 6):
        log.write({"number": number})
    stream.free.set()
    assert stream.three.wait(20)
    log.write({"number": 6})
    log.close(timeout=20)
    assert records(stream) == [{"number": 0}, {"number": 1}, {"number": 2}, {"number": 6, "dropped_before": 3}]


def test_errors_of_clients_are_told_a_few_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    errors = ClientErrors(each=2, seconds=10, clock=lambda: now[0])
    with caplog.at_level(logging.INFO, "serving"):
        for _ in range(5):
            errors.tell("Predict", "NOT_FOUND", "no \x1b[31m")
        now[0] = 10.0
        errors.tell("Predict", "INVALID_ARGUMENT", "two\nlines")
    assert caplog.messages == [
        "Predict failed: NOT_FOUND: no \\x1b[31m",
        "Predict failed: NOT_FOUND: no \\x1b[31m",
        "3 more requests failed, which are not told here",
        "Predict failed: INVALID_ARGUMENT: two\\nlines",
    ]
