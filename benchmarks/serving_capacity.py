"""Requests a second of the server, by model, size of its images and threads: how many machines are needed.

    python benchmarks/serving_capacity.py                      # about five minutes on two cores
    python benchmarks/serving_capacity.py --models=vgg16_netvlad --sizes=480x640 --threads=1,2,4

The server is a process of its own, as in production, with one worker for each core that the threads leave. Twice as
many clients as workers send a JPEG of 480 x 640 a request, each as soon as the last was answered; the graph resizes it.
"core seconds" is the processor's time of the server for a request: what other programs on the machine disturb least,
and what a core can do at most is its inverse. Weights are random; they do not change the speed.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import keras
from server_process import photo
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from export.converters.saved_model import SavedModelOptions, write_saved_model
from export.source import Source
from keras_sare.layers import MAC
from keras_sare.models import build
from serving.client import EmbeddingClient

TINY = "tiny"
TICKS = os.sysconf("SC_CLK_TCK")


def model_of(name: str) -> keras.Model:
    """A preset of `keras_sare.models.build`, or a model that costs nothing: the server alone."""
    if name != TINY:
        return build(name, None)
    inputs = keras.Input((None, None, 3), name="images")
    return keras.Model(inputs, MAC()(keras.layers.Conv2D(4, 1, strides=16)(inputs)))


def processor_seconds(pid: int) -> float:
    """That a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Served:
    """A server process of a model, in a `with` block.

    Args:
        folder: with the versions.
        threads: of one request.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.workers = max(1, (os.cpu_count() or 1) // threads)
        self.address = f"unix:{folder / 'socket'}"
        command = [sys.executable, "-m", "serving", f"--model={folder}", f"--host={self.address}"]
        limits = {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": "1"}
        self.process = subprocess.Popen(
            [*command, f"--max_workers={self.workers}"], env={**os.environ, **limits}, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> "Served":
        with EmbeddingClient(self.address) as client:
            client.wait_until_ready(120)
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait()

    def measure(self, jpeg: bytes, seconds: float) -> tuple[float, float]:
        """Requests a second, and the server's processor seconds for each."""
        request = predict_pb2.PredictRequest(model_spec={"name": "keras_sare"})
        request.inputs["image_bytes"].dtype = 7
        request.inputs["image_bytes"].tensor_shape.dim.add(size=1)
        request.inputs["image_bytes"].string_val.append(jpeg)
        ended = threading.Event()

        def ask(predict: Any) -> int:
            count = 0
            while not ended.is_set():
                predict(request, timeout=120)
                count += 1
            return count

        with grpc.insecure_channel(self.address) as channel, ThreadPoolExecutor(2 * self.workers) as pool:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            predict(request, timeout=120)
            begun = time.perf_counter()
            used = processor_seconds(self.process.pid)
            asking = [pool.submit(ask, predict) for _ in range(2 * self.workers)]
            ended.wait(seconds)
            ended.set()
            count = sum(future.result() for future in asking)
            return count / (time.perf_counter() - begun), (processor_seconds(self.process.pid) - used) / count


def main() -> None:
    """Prints a line for each model, number of threads and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="tiny,vgg16_netvlad")
    parser.add_argument("--sizes", default="240x320,480x640", help="Heights and widths that models see.")
    parser.add_argument("--threads", default="1,2", help="Of one request.")
    parser.add_argument("--seconds", type=float, default=5.0, help="For each line.")
    flags = parser.parse_args()
    jpeg = photo()
    print(
        "| model | images | threads x workers | requests a second | core seconds a request |\n|---|---|---|---:|---:|"
    )
    for name, size in itertools.product(flags.models.split(","), flags.sizes.split(",")):
        height, width = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            source = Source(model_of(name), (height, width), name, "a benchmark")
            write_saved_model(source, Path(folder, "1"), SavedModelOptions(warmup=False))
            for threads in map(int, flags.threads.split(",")):
                with Served(Path(folder), threads) as served:
                    rate, used = served.measure(jpeg, flags.seconds)
                    workers = f"{threads} x {served.workers}"
                    print(f"| {name} | {size} | {workers} | {rate:.1f} | {used:.4f} |", flush=True)


if __name__ == "__main__":
    main()
