"""What the server answers at most, against as many threads that call the same SavedModel directly.

    python benchmarks/serving_saturation.py
    python benchmarks/serving_saturation.py --model=vgg16_mac --rounds=2 --seconds=10

A tiny model shows the server's own work, and that of the clients, who share the machine with it: tensors of 3.7 MB an
image are bounded by gRPC itself. A real one shows what that is worth. Both sides are processes of their own that get
the same batches and take turns; given is the median over the rounds of the ratio of their images a second, with its
range. "by processor time" is the ratio of the processor's seconds for an image, the clients' not counted: what other
programs on the machine disturb less.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
from server_process import ServerProcess, photo
from serving_capacity import TINY, model_of, processor_seconds
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from export.converters.saved_model import SavedModelOptions, write_saved_model
from export.source import Source

CASES = tuple((kind, count) for kind in ("JPEG", "tensor") for count in (1, 8))
Side = tuple[float, float]
"""Calls a second, and processor seconds of a call."""


def request_of(kind: str, count: int) -> Any:
    """A request of so many photos of 480 x 640 pixels, as files or as pixels."""
    import numpy as np
    import tensorflow as tf

    request = predict_pb2.PredictRequest(model_spec={"name": "keras_sare"})
    if kind == "JPEG":
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([photo()] * count))
    else:
        request.model_spec.signature_name = "images"
        images = np.random.default_rng(0).integers(0, 256, (count, 480, 640, 3)).astype("float32")
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    return request


def rate(call: Any, threads: int, seconds: float) -> float:
    """Calls a second of threads that call without a break."""
    ended = threading.Event()

    def ask(_: int) -> int:
        count = 0
        while not ended.is_set():
            call()
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        begun = time.perf_counter()
        asking = [pool.submit(ask, number) for number in range(threads)]
        ended.wait(seconds)
        ended.set()
        return sum(future.result() for future in asking) / (time.perf_counter() - begun)


def call_directly(folder: str, threads: int, orders: Connection) -> None:
    """Process that calls the SavedModel: takes (kind, count, seconds), gives calls a second."""
    from serving.models.model import ServedModel

    model = ServedModel(Path(folder, "1"), 1)
    orders.send(0.0)
    while order := orders.recv():
        kind, count, seconds = order
        request = request_of(kind, count)
        signature = request.model_spec.signature_name or "serving_default"
        model.predict(signature, dict(request.inputs))
        orders.send(rate(lambda r=request, s=signature: model.predict(s, dict(r.inputs)), threads, seconds))


def measured(pid: int, measure: Callable[[], float]) -> Side:
    """Calls a second, and the processor's seconds that a process spent on each."""
    used = processor_seconds(pid)
    begun = time.perf_counter()
    calls = measure()
    return calls, (processor_seconds(pid) - used) / (calls * (time.perf_counter() - begun))


def print_line(name: str, count: int, rounds: Sequence[tuple[Side, Side]]) -> None:
    """Prints images a second of both sides, and the ratios."""
    times = [served[0] / direct[0] for direct, served in rounds]
    work = statistics.median(direct[1] / served[1] for direct, served in rounds)
    direct, served = (count * statistics.median(side[0] for side in sides) for sides in zip(*rounds, strict=True))
    spread = f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"
    print(f"| {name} | {direct:.1f} | {served:.1f} | {spread} | {work:.2f} |", flush=True)


def main() -> None:
    """Prints a line for each kind and size of a request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=TINY, help="A preset, with random weights.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="For each side in a round.")
    flags = parser.parse_args()
    threads = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        source = Source(model_of(flags.model), (480, 640), flags.model, "a benchmark")
        write_saved_model(source, Path(folder, "1"), SavedModelOptions(warmup=False))
        orders, theirs = context.Pipe()
        direct = context.Process(target=call_directly, args=(folder, threads, theirs), daemon=True)
        direct.start()
        orders.recv()
        server = ServerProcess(Path(folder), f"--max_workers={threads}")
        options = [("grpc.max_send_message_length", -1)]
        print("| request | direct, images a second | served | times | by processor time |\n|---|---:|---:|---:|---:|")
        with grpc.insecure_channel(server.address, options) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            for kind, count in CASES:
                request = request_of(kind, count)
                predict(request, timeout=600)
                rounds = []
                for _ in range(flags.rounds):
                    orders.send((kind, count, flags.seconds))
                    mine = measured(direct.pid or 0, orders.recv)
                    call = partial(predict, request, timeout=600)
                    served = measured(server.pid, partial(rate, call, 2 * threads, flags.seconds))
                    rounds.append((mine, served))
                print_line(f"{kind}, {count}", count, rounds)
        server.end()
        orders.send(None)


if __name__ == "__main__":
    main()
