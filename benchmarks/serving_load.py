"""Two hundred clients at twice the server's capacity; a version switched under that load; the server killed.

    python benchmarks/serving_load.py --seconds=300

The server is a process of its own, of a tiny model. Its capacity is measured first. Then the clients send at twice that
rate together, at random times, and compare every answer with what the model gives when it is called directly:

1. for `--seconds`: memory after a fifth of the time and at the end;
2. for a quarter of that: a second version, of other weights, is copied in. Each answer must be that of the version that
   it names, and the new one must take over;
3. for a quarter of that: the server is killed (SIGKILL) and started again under `serving.client`, whose retries must
   lose nothing.

The exit status is 1 where an answer was wrong, a request ended with another code than RESOURCE_EXHAUSTED or
DEADLINE_EXCEEDED, memory grew by more than 5 %, or a client lost a request.
"""

import argparse
import asyncio
import collections
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from innocent import PREDICT, request_of
from server_process import ServerProcess, photo, write_tiny_model

from serving.client import EmbeddingClient, RequestSettings
from serving.client.messages import PredictRequest, PredictResponse
from serving.client.tensors import to_array

PHOTOS = 8
TIMEOUT = 5.0
CONNECTIONS = 20
REFUSALS = {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class Load:
    """Clients that compare what they get.

    Args:
        address: of the server.
        photos: that they send.
        expected: by version, the embeddings of these.
    """

    def __init__(self, address: str, photos: list[bytes], expected: dict[int, np.ndarray]) -> None:
        self._address = address
        self._requests = [request_of(file) for file in photos]
        self._expected = expected
        self.codes: collections.Counter[str] = collections.Counter()
        self.last_version = 0

    async def run(self, clients: int, rate: float, seconds: float) -> None:
        """Sends requests.

        Args:
            clients: that send.
            rate: requests a second of all of them; infinite for one after another.
            seconds: to send for.
        """
        self._end = time.monotonic() + seconds
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(self._address, options) for _ in range(min(CONNECTIONS, clients))]
        methods = [
            one.unary_unary(PREDICT, PredictRequest.SerializeToString, PredictResponse.FromString) for one in channels
        ]
        await asyncio.gather(*(self._client(methods[i % len(methods)], i, clients / rate) for i in range(clients)))
        await asyncio.gather(*(channel.close() for channel in channels))

    async def _client(self, predict: Any, seed: int, interval: float) -> None:
        rng = np.random.default_rng(seed)
        due = time.monotonic() + (rng.exponential(interval) if interval else 0)
        while max(due, time.monotonic()) < self._end:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            due += rng.exponential(interval) if interval else 0
            self.codes[await self._ask(predict, int(rng.integers(len(self._requests))))] += 1

    async def _ask(self, predict: Any, number: int) -> str:
        try:
            answer = await predict(self._requests[number], timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        version = answer.model_spec.version.value
        self.last_version = max(self.last_version, version)
        right = np.allclose(to_array(answer.outputs["embedding"])[0], self._expected[version][number], **CLOSE)
        return "right" if right else "WRONG"

    def told(self, name: str) -> bool:
        """Prints the codes since the last time; whether all are right or refusals."""
        codes = self.codes
        self.codes = collections.Counter()
        print(f"{name}: {dict(codes)}", flush=True)
        return codes["right"] > 0 and set(codes) <= REFUSALS | {"right"}


def embeddings(folder: Path, photos: list[bytes]) -> np.ndarray:
    """What a version gives when it is called directly."""
    import tensorflow as tf

    from serving.models.model import ServedModel

    model = ServedModel(folder, 1)
    each = [model.predict("serving_default", {"image_bytes": tf.make_tensor_proto([file])}) for file in photos]
    return np.concatenate([one["embedding"] for one in each])


def killed(server: ServerProcess, folder: Path, photos: list[bytes], expected: np.ndarray, seconds: float) -> bool:
    """Kills the server and starts it again while clients with retries send; whether each got all embeddings."""
    files = [folder / f"{number}.jpg" for number in range(len(photos))]
    for file, contents in zip(files, photos, strict=True):
        file.write_bytes(contents)
    end = time.monotonic() + seconds
    count = collections.Counter[str]()
    restarted = threading.Event()

    def client(_: int) -> None:
        settings = RequestSettings(retries=30, longest_wait=2.0)
        with EmbeddingClient(server.address, settings=settings) as client:
            while time.monotonic() < end or not restarted.is_set():
                answer = client.embed_files(files, batch_size=2)
                count["right" if np.allclose(answer, expected, **CLOSE) else "WRONG"] += 1

    with ThreadPoolExecutor(10) as pool:
        futures = [pool.submit(client, number) for number in range(10)]
        time.sleep(seconds / 3)
        server.end(signal.SIGKILL)
        server.start()
        restarted.set()
        lost = [repr(error) for future in futures if (error := future.exception())]
    print(f"killed and started again: {dict(count)} of 8 photos each, lost {lost}", flush=True)
    return not lost and set(count) == {"right"}


def main() -> None:
    """Prints what became of the requests, and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    flags = parser.parse_args()
    photos = [photo(seed) for seed in range(PHOTOS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "model")
        versions = {1: folder / "1", 2: Path(name, "2")}
        for number, version in versions.items():
            write_tiny_model(version, number)
        expected = {number: embeddings(version, photos) for number, version in versions.items()}
        server = ServerProcess(folder)
        load = Load(server.address, photos, expected)
        asyncio.run(load.run(16, float("inf"), 3))
        load.codes.clear()
        asyncio.run(load.run(16, float("inf"), 5))
        rate = 2 * load.codes["right"] / 5
        holds = [load.told(f"capacity {rate / 2:.0f} a second")]
        early: list[float] = []
        measure = threading.Timer(flags.seconds / 5, lambda: early.append(server.resident()))
        measure.start()
        asyncio.run(load.run(flags.clients, rate, flags.seconds))
        late = server.resident()
        holds.append(load.told(f"{flags.clients} clients, {rate:.0f} a second"))
        print(f"memory: {early[0]:.0f} MiB, at the end {late:.0f} MiB: {late / early[0]:.3f}")
        holds.append(late <= 1.05 * early[0])
        copy = threading.Timer(flags.seconds / 16, lambda: os.rename(versions[2], folder / "2"))
        copy.start()
        asyncio.run(load.run(flags.clients, rate, max(flags.seconds / 4, 15)))
        holds.append(load.told("a version switched") and load.last_version == 2)
        print(f"newest version that answered: {load.last_version}")
        holds.append(killed(server, Path(name), photos, expected[2], max(flags.seconds / 4, 15)))
        server.end()
    sys.exit(0 if all(holds) else 1)


if __name__ == "__main__":
    main()
