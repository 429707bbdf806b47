"""A server whose predictions end when the test says so."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.models.manager import ModelManager
from serving.rpc.access_log import AccessLog
from serving.rpc.server import ModelServer


class SlowModel:
    """A model whose requests end when the test says so."""

    version = 1
    signature_defs: dict[str, Any] = {}

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.finish = threading.Event()
        self.calls = 0

    def predict(self, *_: Any) -> dict[str, np.ndarray]:
        self.calls += 1
        self.started.release()
        self.finish.wait(20)
        return {"embedding": np.zeros((1, 1), np.float32)}


@contextmanager
def served(**settings: Any) -> Iterator[SimpleNamespace]:
    model = SlowModel()
    server = ModelServer(ModelManager.from_models("slow", [model]), port=0, **settings)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        yield SimpleNamespace(model=model, server=server, channel=channel, predict=predict)
        model.finish.set()
        server.stop(grace=5)


@pytest.fixture
def slow_server() -> Iterator[Callable[..., SimpleNamespace]]:
    """Starts a server of one worker with one place in the queue, unless told otherwise, and connects to it."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(served(**{"max_workers": 1, "max_queue": 1, **settings}))


@pytest.fixture
def log_lines() -> SimpleNamespace:
    """An access log and the queue that its lines go into: a test can wait for one."""
    lines: queue.Queue[str] = queue.Queue()
    return SimpleNamespace(log=AccessLog(SimpleNamespace(write=lines.put, flush=lambda: None)), lines=lines)


@pytest.fixture
def slow(slow_server: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    """The server, its model and channel, and the method Predict."""
    return slow_server()
