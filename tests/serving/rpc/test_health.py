"""What must be answered whatever the predictions do: health, status, metadata; and what must not keep them."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.limits import Limits

REQUEST = predict_pb2.PredictRequest(model_spec={"name": "slow"})
PREDICT = "/tensorflow.serving.PredictionService/Predict"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health(channel: Any, service: str = "") -> Any:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=20).status


def test_health_status_and_metadata_are_answered_while_all_workers_and_places_are_taken(slow: SimpleNamespace) -> None:
    calls = [slow.predict.future(REQUEST, timeout=20) for _ in range(2)]
    assert slow.model.started.acquire(timeout=20)
    assert health(slow.channel) == health(slow.channel, "slow") == SERVING
    models = model_service_pb2_grpc.ModelServiceStub(slow.channel)
    spec = {"name": "slow"}
    status = models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec=spec), timeout=20)
    assert [version.version for version in status.model_version_status] == [1]
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(slow.channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
    assert predictions.GetModelMetadata(request, timeout=20).model_spec.version.value == 1
    assert not any(call.done() for call in calls)


def test_the_health_of_another_model_is_not_found(slow: SimpleNamespace) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        health(slow.channel, "fast")
    assert caught.value.code().name == "NOT_FOUND"


def test_health_says_not_serving_as_soon_as_the_server_stops(slow: SimpleNamespace) -> None:
    under_way = slow.predict.future(REQUEST, timeout=20)
    assert slow.model.started.acquire(timeout=20)
    request = health_pb2.HealthCheckRequest(service="slow")
    watched = health_pb2_grpc.HealthStub(slow.channel).Watch(request, timeout=20)
    assert next(watched).status == SERVING
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(slow.server.stop, 20)
        assert next(watched).status == NOT_SERVING
        assert not under_way.done()
        watched.cancel()
        slow.model.finish.set()
        assert stopping.result(20)
    assert len(under_way.result(20).outputs) == 1


def test_reflection_lists_the_services_with_their_messages(slow: SimpleNamespace) -> None:
    database = ProtoReflectionDescriptorDatabase(slow.channel)
    assert set(database.get_services()) == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    file = database.FindFileContainingSymbol("tensorflow.serving.PredictionService")
    assert "Predict" in {method.name for service in file.service for method in service.method}


@pytest.fixture
def silent() -> Iterator[Callable[[Any], Any]]:
    """Begins calls that send their headers and nothing more."""
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait(20)
        return
        yield

    yield lambda channel: channel.stream_unary(PREDICT).future(nothing(), timeout=20)
    over.set()


def test_calls_that_send_nothing_keep_no_worker_and_make_room(
    slow_server: Callable[..., SimpleNamespace], silent: Callable[[Any], Any]
) -> None:
    slow = slow_server(max_workers=1, max_queue=2)
    slow.model.finish.set()
    calls = [silent(slow.channel) for _ in range(10)]
    ended: queue.Queue[Any] = queue.Queue()
    for call in calls:
        call.add_done_callback(ended.put)
    # Three requests may arrive at the same time: of each further one the oldest pays, in the order of their arrival.
    codes = [ended.get(timeout=20).exception().code().name for _ in range(7)]
    assert codes == ["RESOURCE_EXHAUSTED"] * 7
    assert sum(not call.done() for call in calls) == 3
    assert len(slow.predict(REQUEST, timeout=20).outputs) == 1
    assert health(slow.channel) == SERVING


def test_a_request_that_does_not_arrive_is_given_up(
    slow_server: Callable[..., SimpleNamespace], silent: Callable[[Any], Any]
) -> None:
    slow = slow_server(limits=Limits(receive_seconds=0.05))
    error = silent(slow.channel).exception(timeout=20)
    assert error.code().name == "DEADLINE_EXCEEDED"
    assert error.details().startswith("The request must arrive within 0.05 s (`max_receive_seconds`)")


def test_a_call_without_a_request_is_an_invalid_argument(slow: SimpleNamespace) -> None:
    error = slow.channel.stream_unary(PREDICT).future(iter(()), timeout=20).exception(timeout=20)
    assert (error.code().name, error.details()) == ("INVALID_ARGUMENT", "The call must have one request")


def test_the_bytes_of_requests_under_way_are_bounded_together(slow_server: Callable[..., SimpleNamespace]) -> None:
    slow = slow_server(max_queue=9, limits=Limits(message_bytes=10**5, bytes_in_flight=10**5))
    large = predict_pb2.PredictRequest(model_spec={"name": "slow"}, output_filter=["n" * 60_000])
    under_way = slow.predict.future(large, timeout=20)
    assert slow.model.started.acquire(timeout=20)
    error = slow.predict.future(large, timeout=20).exception(timeout=20)
    assert error.code().name == "RESOURCE_EXHAUSTED"
    assert "(`max_bytes_in_flight`)" in error.details()
    waiting = slow.predict.future(REQUEST, timeout=20)
    slow.model.finish.set()
    assert under_way.result(20)
    assert waiting.result(20)
    assert slow.predict(large, timeout=20)
