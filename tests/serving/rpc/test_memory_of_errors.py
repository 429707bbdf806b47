"""What is left of requests that failed."""

import gc
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2

from serving.errors import RequestError
from serving.models.manager import ModelManager
from serving.rest.server import RestServer
from serving.rpc.server import ModelServer
from serving.scheduling.batching import BatchingParameters

NO_PHOTO = b'{"instances": [{"b64": "eHh4"}]}'
Ask = Callable[[], Any]


@pytest.fixture(params=[None, BatchingParameters(4, 0)], ids=["one by one", "batching"])
def asks(request: pytest.FixtureRequest, manager: ModelManager) -> Iterator[list[Ask]]:
    """Send a request that fails, by each protocol."""
    server = ModelServer(manager, port=0, batching=request.param)
    rest = RestServer(server.backend, port=0)
    server.add(rest)
    server.start()
    broken = predict_pb2.PredictRequest(model_spec={"name": "keras_sare"})
    broken.inputs["image_bytes"].dtype = 7
    broken.inputs["image_bytes"].tensor_shape.dim.add(size=1)
    broken.inputs["image_bytes"].string_val.append(b"xxx")
    url = f"{rest.address}/v1/models/keras_sare:predict"
    with grpc.insecure_channel(server.address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        yield [
            lambda: predict(broken.SerializeToString(), timeout=20),
            lambda: urllib.request.urlopen(urllib.request.Request(url, NO_PHOTO), timeout=20),
        ]
    server.stop(grace=0)


def errors_in_memory() -> int:
    return sum(type(thing) is RequestError for thing in gc.get_objects())


def test_a_failed_request_is_not_left_to_the_garbage_collector(asks: list[Ask]) -> None:
    gc.collect()
    gc.disable()
    try:
        before = errors_in_memory()
        for ask in asks:
            for _ in range(5):
                with pytest.raises((grpc.RpcError, urllib.error.HTTPError)):
                    ask()
        # The last one may not have been left yet.
        assert errors_in_memory() - before <= 1
    finally:
        gc.enable()
