"""The HTTP server: address, stopping, clients that are slow or go."""

import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rest.server import RestServer, TlsFiles
from serving.rpc.server import ModelServer
from serving.scheduling.batching import BatchingParameters

COMBINE = {"signature_name": "combine", "inputs": {"left": [1.5, -2], "right": 3}}


class WaitingModel:
    """The tiny model, whose requests end when the test says so."""

    version = 7

    def __init__(self, manager: ModelManager) -> None:
        self.manager = manager
        self.started = threading.Semaphore(0)
        self.finish = threading.Event()
        self.calls = 0
        with self.found() as model:
            self.signature_defs = model.signature_defs

    def __getattr__(self, name: str) -> Any:
        with self.found() as model:
            return getattr(model, name)

    def found(self) -> Any:
        return self.manager.find(predict_pb2.PredictRequest(model_spec={"name": "keras_sare"}).model_spec)

    def predict(self, *arguments: Any) -> Any:
        self.calls += 1
        self.started.release()
        self.finish.wait(20)
        with self.found() as model:
            return model.predict(*arguments)


@contextmanager
def served(manager: ModelManager, tls: TlsFiles | None = None, **settings: Any) -> Iterator[SimpleNamespace]:
    model = WaitingModel(manager)
    server = ModelServer(ModelManager.from_models("keras_sare", [model]), port=0, **settings)
    rest = RestServer(server.backend, port=0, tls=tls)
    server.add(rest)
    server.start()
    yield SimpleNamespace(model=model, server=server, rest=rest, url=f"{rest.address}/v1/models/keras_sare")
    model.finish.set()
    server.stop(grace=5)


def ask(url: str) -> httpx.Response:
    return httpx.post(f"{url}:predict", json=COMBINE, timeout=20)


def metrics(slow: SimpleNamespace) -> str:
    return httpx.get(f"{slow.rest.address}/monitoring/prometheus/metrics", timeout=20).text


def is_refused(url: str) -> bool:
    try:
        httpx.get(url, timeout=20)
    except httpx.TransportError:
        return True
    return False


def test_both_protocols_answer_alike_and_have_one_bound(manager: ModelManager) -> None:
    with served(manager, max_workers=1, max_queue=0) as slow, ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(ask, slow.url)
        assert slow.model.started.acquire(timeout=20)
        assert ask(slow.url).status_code == 429
        with grpc.insecure_channel(slow.server.address) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            request = predict_pb2.PredictRequest(model_spec={"name": "keras_sare"})
            assert predict.future(request, timeout=20).exception(timeout=20).code().name == "RESOURCE_EXHAUSTED"
        # Also while all workers compute.
        assert httpx.get(slow.url, timeout=20).status_code == 200
        assert (
            ":keras_sare:serving:computing 1.0" in httpx.get(f"{slow.rest.address}/monitoring/prometheus/metrics").text
        )
        slow.model.finish.set()
        assert under_way.result(20).json()["outputs"]["sum"] == [4.5, 1.0]


def test_stopping_lets_the_request_under_way_finish_and_refuses_new_ones(manager: ModelManager) -> None:
    with served(manager) as slow, ThreadPoolExecutor(2) as pool:
        under_way = pool.submit(ask, slow.url)
        assert slow.model.started.acquire(timeout=20)
        stopping = pool.submit(slow.server.stop, 20)
        assert any(is_refused(slow.url) for _ in range(500))
        assert not stopping.done()
        slow.model.finish.set()
        assert stopping.result(20)
        assert under_way.result(20).status_code == 200


def test_stopping_waits_no_longer_than_its_grace(manager: ModelManager) -> None:
    with served(manager) as slow, ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(ask, slow.url)
        assert slow.model.started.acquire(timeout=20)
        assert not slow.server.stop(grace=0.1)
        answer = under_way.result(20)
        assert (answer.status_code, answer.json()) == (503, {"error": "The server stops"})
        slow.model.finish.set()
        assert slow.server.stop(grace=20)


def test_a_request_whose_client_left_the_queue_is_not_computed(manager: ModelManager) -> None:
    with served(manager, max_workers=1, max_queue=1) as slow, ThreadPoolExecutor(2) as pool:
        under_way = pool.submit(ask, slow.url)
        assert slow.model.started.acquire(timeout=20)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{slow.url}:predict", json=COMBINE, timeout=0.3)
        # Its place in the queue is free again.
        assert any(":keras_sare:serving:queue_length 0.0\n" in metrics(slow) for _ in range(500))
        slow.model.finish.set()
        assert under_way.result(20).status_code == ask(slow.url).status_code == 200
        assert slow.model.calls == 2


def test_a_body_that_does_not_arrive_is_given_up(manager: ModelManager) -> None:
    limits = Limits(receive_seconds=0.2)
    with served(manager, limits=limits) as slow, socket.create_connection(("127.0.0.1", slow.rest.port), 20) as link:
        link.sendall(b"POST /v1/models/keras_sare:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        answer = b""
        while not answer.endswith(b"}"):
            answer += link.recv(2000)
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert b"(`max_receive_seconds`)" in answer


def test_no_answer_in_time_is_a_timeout(manager: ModelManager) -> None:
    limits = Limits(receive_seconds=0.1, seconds=0.1)
    with served(manager, limits=limits) as slow:
        answer = ask(slow.url)
        assert answer.status_code == 504
        assert "`max_seconds`" in answer.json()["error"]


def test_what_is_no_http_is_refused_without_a_word_in_the_log(
    manager: ModelManager, caplog: pytest.LogCaptureFixture
) -> None:
    with served(manager) as slow, caplog.at_level(logging.INFO):
        for data in (b"\0" * 100, b"GET / HTTP/1.1\r\nx: " + b"x" * 2**17):
            with socket.create_connection(("127.0.0.1", slow.rest.port), 20) as link:
                link.sendall(data)
                assert link.recv(2000).startswith(b"HTTP/1.1 400 ")
        assert httpx.get(slow.url, timeout=20).status_code == 200
    assert not [message for message in caplog.messages if "nvalid HTTP" in message]


def test_small_pieces_of_an_answer_are_sent_at_once(manager: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an answer in two pieces takes until the client acknowledges the first, which may be 40 ms."""
    delays = []
    made = H11Protocol.connection_made

    def connection_made(self: H11Protocol, transport: Any) -> None:
        delays.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(self, transport)

    monkeypatch.setattr(H11Protocol, "connection_made", connection_made)
    with served(manager) as slow:
        assert httpx.get(slow.url, timeout=20).status_code == 200
    assert delays == [1]


def test_of_requests_computed_together_each_is_told_its_own_error(manager: ModelManager) -> None:
    def ask_for(value: float) -> httpx.Response:
        body = {"signature_name": "images", "instances": [[[[value] * 3]]]}
        return httpx.post(f"{slow.url}:predict", json=body, timeout=20)

    batching = BatchingParameters(8)
    with served(manager, max_workers=1, batching=batching) as slow, ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask_for, 1.0)
        assert slow.model.started.acquire(timeout=20)
        # The mean of such numbers is infinite, and so is its norm.
        others = [pool.submit(ask_for, value) for value in (3e38, 1.0)]
        assert any(":keras_sare:serving:queue_length 2.0\n" in metrics(slow) for _ in range(500))
        slow.model.finish.set()
        assert [call.result(20).status_code for call in (first, *others)] == [200, 500, 200]
    # The others did not go through it one by one.
    assert slow.model.calls == 1


def test_a_taken_port_is_refused(manager: ModelManager) -> None:
    with served(manager) as slow, pytest.raises(OSError, match="`host` and `rest_port` must be an address that this"):
        RestServer(slow.server.backend, port=slow.rest.port)


def test_an_encrypting_server_answers_those_who_encrypt_and_are_known(manager: ModelManager, pem: Path) -> None:
    tls = TlsFiles(pem / "server.crt", pem / "server.key", pem / "client.crt")
    with served(manager, tls) as slow:
        slow.model.finish.set()
        context = ssl.create_default_context(cafile=pem / "server.crt")
        with pytest.raises(httpx.TransportError):
            httpx.get(slow.url, verify=context, timeout=20)
        context.load_cert_chain(pem / "client.crt", pem / "client.key")
        answer = httpx.post(f"{slow.url}:predict", content=json.dumps(COMBINE), verify=context, timeout=20)
        assert answer.json()["outputs"]["sum"] == [4.5, 1.0]
