"""What Prometheus is told, read by its own parser."""

from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import predict_pb2

from serving.rpc.server import ModelServer

REQUEST = predict_pb2.PredictRequest(model_spec={"name": "slow"})


def samples(server: ModelServer) -> dict[tuple[str, ...], float]:
    """Name and values of the labels, in the order of their names, to value."""
    families = text_string_to_metric_families(server.backend.metrics.text().decode())
    found = [sample for family in families for sample in family.samples]
    # The parser gives counters a suffix, whatever the text says.
    return {
        (sample.name.removesuffix("_total"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for sample in found
    }


def code_of(call: Any) -> str:
    error = call.exception(timeout=20)
    return "OK" if error is None else error.code().name


def test_predictions_are_counted_under_tensorflow_servings_names(slow: SimpleNamespace) -> None:
    slow.model.finish.set()
    other = predict_pb2.PredictRequest(model_spec={"name": "made up"})
    # One after the other: three at once are one more than the server takes, and it refuses the last to arrive.
    codes = [code_of(slow.predict.future(request, timeout=20)) for request in (REQUEST, other, other)]
    assert codes == ["OK", "NOT_FOUND", "NOT_FOUND"]
    slow.server.stop(grace=5)
    found = samples(slow.server)
    counts = {key[1:]: value for key, value in found.items() if key[0] == ":tensorflow:serving:request_count"}
    assert counts == {("slow", "OK"): 1, ("", "NOT_FOUND"): 2}
    assert found[":tensorflow:serving:request_latency_count", "Predict", "GRPC", "slow"] == 1
    assert found[":tensorflow:serving:runtime_latency_count", "Predict", "slow", "TF1"] == 1
    latency = found[":tensorflow:serving:request_latency_sum", "Predict", "GRPC", "slow"]
    assert latency >= found[":tensorflow:serving:runtime_latency_sum", "Predict", "slow", "TF1"] > 0
    assert b"# TYPE :tensorflow:serving:request_count counter\n" in slow.server.backend.metrics.text()
    assert b"_created" not in slow.server.backend.metrics.text()


def test_the_load_and_the_limits_that_refuse_are_told(slow: SimpleNamespace) -> None:
    waiting = [slow.predict.future(REQUEST, timeout=20) for _ in range(2)]
    assert slow.model.started.acquire(timeout=20)
    assert code_of(slow.predict.future(REQUEST, timeout=20)) == "RESOURCE_EXHAUSTED"
    found = samples(slow.server)
    assert found[":keras_sare:serving:queue_length",] == found[":keras_sare:serving:computing",] == 1
    assert found[":keras_sare:serving:bytes_in_flight",] == 2 * REQUEST.ByteSize()
    assert found[":keras_sare:serving:refusals", "max_queue"] == 1
    slow.model.finish.set()
    assert [code_of(call) for call in waiting] == ["OK", "OK"]
