"""What the server answers in time when it is asked more than it can do.

    python benchmarks/serving_overload.py

The model does nothing for a fixed time, so that the machine's speed does not matter and the capacity is known:
`WORKERS / SERVICE_SECONDS` requests a second. Requests arrive at random (Poisson), whether others were answered or not,
each with a deadline. Goodput is the requests a second that were answered within it. Loads take turns.
"""

import collections
import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.errors import RequestError
from serving.models.manager import ModelManager
from serving.rpc.server import ModelServer

WORKERS = 4
SERVICE_SECONDS = 0.2
DEADLINE = 1.0
SECONDS = 15.0
LOADS = (1.0, 2.0, 4.0)
ROUNDS = 2


class FixedModel:
    """Takes the same time for each request, or ends at the deadline as a graph would."""

    version = 1

    def predict(
        self, _signature: str, _inputs: Any, _outputs: Iterable[str], _limits: Any, time_left: Callable[[], float]
    ) -> dict[str, np.ndarray]:
        """Waits and returns nothing of use."""
        left = time_left()
        time.sleep(max(min(left, SERVICE_SECONDS), 0))
        if left < SERVICE_SECONDS:
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Timed out")
        return {"embedding": np.zeros((1, 1), np.float32)}


def offer(predict: Any, rate: float) -> collections.Counter[str]:
    """Offers a load for `SECONDS`.

    Returns:
        How many requests ended with each code.
    """
    rng = np.random.default_rng(0)
    request = predict_pb2.PredictRequest(model_spec={"name": "fixed"})
    arrivals = np.cumsum(rng.exponential(1 / rate, math.ceil(rate * SECONDS)))
    start = time.monotonic()
    calls = []
    for arrival in arrivals:
        time.sleep(max(start + arrival - time.monotonic(), 0))
        calls.append(predict.future(request, timeout=DEADLINE))
    return collections.Counter(call.code().name for call in calls)


def main() -> None:
    """Prints goodput and codes for each load."""
    logging.getLogger("serving").setLevel(logging.ERROR)
    server = ModelServer(ModelManager.from_models("fixed", [FixedModel()]), port=0, max_workers=WORKERS)
    server.start()
    capacity = WORKERS / SERVICE_SECONDS
    goodput: dict[float, list[float]] = {load: [] for load in LOADS}
    with grpc.insecure_channel(server.address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        for _ in range(ROUNDS):
            for load in LOADS:
                codes = offer(predict, load * capacity)
                goodput[load].append(codes["OK"] / SECONDS)
                print(f"{load:g} of capacity: {goodput[load][-1]:5.1f} a second in time; {dict(codes)}", flush=True)
    server.stop(2)
    at_capacity = np.mean(goodput[1.0])
    for load in LOADS:
        mean = np.mean(goodput[load])
        print(f"{load:g} of capacity: goodput {mean:.1f} a second, {mean / at_capacity:.2f} of that at capacity")


if __name__ == "__main__":
    main()
