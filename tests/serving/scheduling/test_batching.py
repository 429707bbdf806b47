"""Requests that wait for a worker are computed as one."""

import asyncio
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.models.manager import ModelManager
from serving.rpc.server import ModelServer
from serving.scheduling.admission import Admission
from serving.scheduling.batching import Batcher, BatchingParameters, Task


class Work:
    """Doubles numbers, as soon as the test says so; refuses negative ones."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Event()
        self.finish = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[Any]:
        self.batches.append(list(numbers))
        self.started.set()
        self.finish.wait(20)
        return [2 * number if number >= 0 else ValueError(f"{number} is negative") for number in numbers]


class Requests:
    """Requests to a batcher whose only worker computes the number 0 until `finish`."""

    def __init__(self, max_batch_size: int) -> None:
        self.admission = Admission(workers=1, queue=20, bytes_in_flight=100)
        self.batcher = Batcher(self.admission, BatchingParameters(max_batch_size))
        self.work = Work()

    async def ask(self, number: int, images: int = 1, bucket: str = "a") -> Any:
        with self.admission.admitted(1) as ticket:
            return await self.batcher.compute(bucket, "kind", Task(ticket, images, number), math.inf, self.work)

    async def answers(self, *calls: tuple[int, int, str]) -> list[Any]:
        """Sends requests of (number, images, bucket), after one that keeps the worker, and lets all be computed."""
        first = asyncio.create_task(self.ask(0))
        await asyncio.to_thread(self.work.started.wait, 20)
        tasks = [asyncio.create_task(self.ask(*call)) for call in calls]
        await asyncio.sleep(0)
        self.work.finish.set()
        answers = await asyncio.gather(first, *tasks, return_exceptions=True)
        self.admission.close()
        return answers


def test_those_that_wait_are_computed_together() -> None:
    requests = Requests(max_batch_size=8)
    assert asyncio.run(requests.answers((1, 1, "a"), (2, 1, "a"), (3, 1, "a"))) == [0, 2, 4, 6]
    assert requests.work.batches == [[0], [1, 2, 3]]


def test_a_batch_has_at_most_so_many_images_and_one_bucket() -> None:
    requests = Requests(max_batch_size=4)
    asyncio.run(requests.answers((1, 2, "a"), (2, 2, "a"), (3, 3, "a"), (4, 2, "a"), (5, 1, "b"), (6, 9, "b")))
    assert sorted(requests.work.batches) == [[0], [1, 2], [3], [4], [5], [6]]


def test_an_error_of_one_is_that_one_s() -> None:
    requests = Requests(max_batch_size=8)
    _, first, second, third = asyncio.run(requests.answers((1, 1, "a"), (-2, 1, "a"), (3, 1, "a")))
    assert (first, third) == (2, 6)
    assert isinstance(second, ValueError)
    assert requests.work.batches == [[0], [1, -2, 3]]


def test_one_whose_client_has_gone_is_not_computed() -> None:
    requests = Requests(max_batch_size=8)

    async def test() -> None:
        first = asyncio.create_task(requests.ask(0))
        await asyncio.to_thread(requests.work.started.wait, 20)
        tasks = [asyncio.create_task(requests.ask(number)) for number in (1, 2, 3)]
        alone = asyncio.create_task(requests.ask(4, bucket="b"))
        await asyncio.sleep(0)
        tasks[1].cancel()
        alone.cancel()
        await asyncio.wait([tasks[1], alone])
        requests.work.finish.set()
        assert await asyncio.gather(first, tasks[0], tasks[2]) == [0, 2, 6]
        assert await requests.ask(5) == 10

    asyncio.run(test())
    requests.admission.close()
    assert requests.work.batches == [[0], [1, 3], [5]]


def test_answers_of_a_batching_server_are_those_of_each_request(
    manager: ModelManager, pictures: np.ndarray, embeddings: np.ndarray
) -> None:
    server = ModelServer(manager, port=0, max_workers=1, batching=BatchingParameters(8, 10_000))
    server.start()
    with grpc.insecure_channel(server.address) as channel, ThreadPoolExecutor(8) as pool:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict

        def embed(number: int) -> np.ndarray:
            request = predict_pb2.PredictRequest(model_spec={"name": "keras_sare", "signature_name": "images"})
            image = pictures[number % 5 : number % 5 + 1].astype(np.float32)
            request.inputs["images"].CopyFrom(tf.make_tensor_proto(image))
            return tf.make_ndarray(predict(request, timeout=20).outputs["embedding"])

        results = list(pool.map(embed, range(40)))
    server.stop(grace=5)
    np.testing.assert_allclose(np.concatenate(results), np.tile(embeddings, (8, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0,), "`max_batch_size` must be at least 1. Received: max_batch_size=0"),
        ((1, -1), "`batch_timeout_micros` must not be negative. Received: batch_timeout_micros=-1"),
    ],
)
def test_parameters_out_of_range_are_refused(values: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        BatchingParameters(*values)
