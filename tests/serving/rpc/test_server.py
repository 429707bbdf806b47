"""The server: address, bounds, stopping."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rpc.server import Access, ModelServer

REQUEST = predict_pb2.PredictRequest(model_spec={"name": "slow"})


def code_of(call: Any) -> str:
    return call.exception(timeout=20).code().name


def test_port_0_takes_a_free_port(manager: ModelManager) -> None:
    first = ModelServer(manager, port=0)
    second = ModelServer(manager, port=0)
    assert 0 < first.port != second.port > 0
    assert first.address == f"127.0.0.1:{first.port}"


def test_the_ready_line_names_model_version_and_address(
    manager: ModelManager, caplog: pytest.LogCaptureFixture
) -> None:
    server = ModelServer(manager, port=0)
    with caplog.at_level(logging.INFO, "serving"):
        server.start()
    server.stop(grace=0)
    assert caplog.messages[0] == f"serving keras_sare version 7 at 127.0.0.1:{server.port}"


def test_a_taken_port_is_refused_instead_of_shared(manager: ModelManager) -> None:
    first = ModelServer(manager, port=0)
    with pytest.raises(OSError, match=rf"`host` and `port` must be an address.*port={first.port}"):
        ModelServer(manager, port=first.port)


def test_a_unix_socket_is_an_address(manager: ModelManager, tmp_path: Path) -> None:
    server = ModelServer(manager, host=f"unix:{tmp_path}/s")
    server.start()
    assert server.address == f"unix:{tmp_path}/s"
    request = predict_pb2.PredictRequest(model_spec={"name": "other"})
    with grpc.insecure_channel(server.address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        assert code_of(predict.future(request, timeout=20)) == "NOT_FOUND"
    with pytest.raises(OSError, match="`host` and `port` must be an address"):
        ModelServer(manager, host=server.address)
    server.stop(grace=0)


def test_requests_beyond_workers_and_queue_are_refused_at_once(slow: SimpleNamespace) -> None:
    computed = slow.predict.future(REQUEST, timeout=20)
    waiting = slow.predict.future(REQUEST, timeout=20)
    assert slow.model.started.acquire(timeout=20)
    refused = [slow.predict.future(REQUEST, timeout=20) for _ in range(3)]
    codes = [code_of(call) for call in refused]
    slow.model.finish.set()
    assert codes == ["RESOURCE_EXHAUSTED"] * 3
    assert len(computed.result(20).outputs) == len(waiting.result(20).outputs) == 1


def test_a_request_whose_client_left_the_queue_is_not_computed(
    slow_server: Callable[..., SimpleNamespace], log_lines: SimpleNamespace
) -> None:
    slow = slow_server(access=Access(log=log_lines.log))
    computed = slow.predict.future(REQUEST, timeout=20)
    assert slow.model.started.acquire(timeout=20)
    assert code_of(slow.predict.future(REQUEST, timeout=0.3)) == "DEADLINE_EXCEEDED"
    # The client tells first: the server has to notice before it has a worker for the request.
    assert json.loads(log_lines.lines.get(timeout=20))["code"] in ("CANCELLED", "DEADLINE_EXCEEDED")
    slow.model.finish.set()
    computed.result(20)
    slow.predict(REQUEST, timeout=20)
    assert slow.model.calls == 2


def test_stopping_lets_the_request_under_way_finish_and_refuses_new_ones(slow: SimpleNamespace) -> None:
    under_way = slow.predict.future(REQUEST, timeout=20)
    assert slow.model.started.acquire(timeout=20)
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(slow.server.stop, 20)
        # The first ones may still slip in before the stop; nobody waits for them, so they are not computed either.
        assert any(code_of(slow.predict.future(REQUEST, timeout=0.3)) == "UNAVAILABLE" for _ in range(20))
        assert not stopping.done()
        slow.model.finish.set()
        assert stopping.result(20)
    assert len(under_way.result(20).outputs) == 1
    assert slow.model.calls == 1


def test_stopping_waits_no_longer_than_its_grace(slow: SimpleNamespace) -> None:
    under_way = slow.predict.future(REQUEST, timeout=20)
    assert slow.model.started.acquire(timeout=20)
    assert not slow.server.stop(grace=0.1)
    assert code_of(under_way) in ("CANCELLED", "UNAVAILABLE")
    slow.model.finish.set()
    assert slow.server.stop(grace=20)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_beyond_the_limit_is_refused_however_it_is_packed(
    manager: ModelManager, compression: grpc.Compression
) -> None:
    server = ModelServer(manager, port=0, limits=Limits(message_bytes=10**5))
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        request = predict_pb2.PredictRequest(model_spec={"name": "n" * 10**6})
        assert code_of(predict.future(request, timeout=20, compression=compression)) == "RESOURCE_EXHAUSTED"
        request = predict_pb2.PredictRequest(model_spec={"name": "n" * 10**4})
        assert code_of(predict.future(request, timeout=20, compression=compression)) == "NOT_FOUND"
    server.stop(grace=0)


def test_the_work_of_a_request_ends_with_its_deadline_and_makes_room_for_others(waiting_folder: Path) -> None:
    server = ModelServer(ModelManager.from_folder("waiting", waiting_folder), port=0, max_workers=1)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        request = predict_pb2.PredictRequest(model_spec={"name": "waiting", "signature_name": "loop"})
        request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.int64(10**9)))
        assert code_of(predict.future(request, timeout=0.3)) == "DEADLINE_EXCEEDED"
        request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.int64(3)))
        assert tf.make_ndarray(predict(request, timeout=20).outputs["count"]) == 3
    assert server.stop(grace=20)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_workers": 0}, "`max_workers` must be at least 1. Received: max_workers=0"),
        ({"max_queue": -1}, "`max_queue` must not be negative.* Received: max_queue=-1"),
    ],
)
def test_bounds_out_of_range_are_refused(manager: ModelManager, arguments: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ModelServer(manager, port=0, **arguments)
