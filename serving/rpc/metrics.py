"""What Prometheus is told: under TensorFlow Serving's names, and what else tells of a server's load."""

from collections.abc import Iterator

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from serving.errors import RequestError
from serving.models.manager import ModelManager
from serving.rpc.calls import Call
from serving.scheduling.admission import Admission

# TensorFlow Serving's: from 10 us to 20 minutes.
_MICROSECONDS = [10 * 1.8**power for power in range(33)]
_REQUEST_COUNT = ":tensorflow:serving:request_count"
_REFUSALS = ":keras_sare:serving:refusals"
_COUNTED = ("predict", "localize")
"""Methods that run a model, in lower case; by REST they are named so."""


class Metrics:
    """Counts the predictions of a server. Names that a client makes up become no labels, so their number is bounded.

    Args:
        manager: knows the names of models.
        admission: knows the load.
    """

    def __init__(self, manager: ModelManager, admission: Admission) -> None:
        self._manager = manager
        # Times of creation, which TensorFlow Serving does not tell either.
        disable_created_metrics()
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(_REQUEST_COUNT, "Predictions.", ["model_name", "status"], registry=registry)
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds from the beginning of an answered request to its answer.",
            ["model_name", "API", "entrypoint"],
            registry=registry,
            buckets=_MICROSECONDS,
        )
        self._runtime = Histogram(
            ":tensorflow:serving:runtime_latency",
            "Microseconds that the graph of an answered request ran.",
            ["model_name", "API", "runtime"],
            registry=registry,
            buckets=_MICROSECONDS,
        )
        self._refusals = Counter(_REFUSALS, "Predictions that a limit refused.", ["limit"], registry=registry)
        registry.register(_Load(admission))
        ProcessCollector(registry=registry)

    def observe(self, call: Call, refusal: RequestError | None, code: grpc.StatusCode, seconds: float) -> None:
        """Counts a call that has ended.

        Args:
            call: the call; others than predictions and localizations do not count.
            refusal: what it was answered with; None where it was computed.
            code: of the answer.
            seconds: that it took.
        """
        api = call.method.rpartition("/")[2]
        if api.lower() not in _COUNTED:
            return
        name = str(call.fields.get("model", ""))
        # TensorFlow Serving tells the names of models that do not exist, too.
        name = name if name in self._manager.available() else ""
        self._requests.labels(name, code.name).inc()
        if refusal is not None and refusal.limit:
            self._refusals.labels(refusal.limit).inc()
        if code is grpc.StatusCode.OK:
            entrypoint = "REST" if call.method.startswith("REST/") else "GRPC"
            self._latency.labels(name, api, entrypoint).observe(1e6 * seconds)
            self._runtime.labels(name, api.capitalize(), "TF1").observe(1e6 * call.fields.get("compute_seconds", 0.0))

    def text(self) -> bytes:
        """All of it, in Prometheus' format."""
        text: bytes = generate_latest(self._registry)
        # prometheus-client gives counters a suffix that TensorFlow Serving does not.
        for name in (_REQUEST_COUNT, _REFUSALS):
            text = text.replace(f"{name}_total".encode(), name.encode())
        return text


class _Load:
    """Gauges that are read when they are asked for."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        """See prometheus-client."""
        load = self._admission.load
        for name, value, text in (
            ("queue_length", load.queued, "Predictions that wait for a worker."),
            ("computing", load.computing, "Predictions that have a worker."),
            ("bytes_in_flight", load.bytes_in_flight, "Bytes of the requests of both."),
        ):
            yield GaugeMetricFamily(f":keras_sare:serving:{name}", text, value)
