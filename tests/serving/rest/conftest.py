"""The REST interface in this process, without a network."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rest.app import rest_app
from serving.rpc.backend import Backend
from serving.scheduling.quota import Quota


@pytest.fixture(scope="module")
def connect() -> Iterator[Callable[..., TestClient]]:
    """Starts the application for a manager and connects to it."""
    with ExitStack() as stack:

        def client(manager: ModelManager, limits: Limits = Limits(), **settings: Any) -> TestClient:  # noqa: B008
            given = {"tokens": None, "quota": Quota(), "log": None, **settings}
            backend = Backend(manager, limits, max_workers=2, max_queue=4, **given)
            stack.callback(backend.admission.close)
            return stack.enter_context(TestClient(rest_app(backend), raise_server_exceptions=True))

        yield client


@pytest.fixture(scope="module")
def client(connect: Callable[..., TestClient], manager: ModelManager) -> TestClient:
    """A client of the tiny model."""
    return connect(manager)
