"""What the machine can do at most, and the least work that a figure asks for: the floors of the benchmarks.

    python benchmarks/machine.py --folder=runs        # the rates of two threads and of the disk under a folder

A floor is the multiplications of the layers over the measured rate of a large matrix product, or bytes over a measured
rate; no program that multiplies as the network says is faster. Rates are the best of several trials, because anything
else that runs on the machine makes them smaller, never larger.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from same_images import THREADS

PRODUCT = (4096, 2048, 2048)
BLOCK = 2**20


def limit_threads() -> None:
    """Makes TensorFlow use `THREADS` threads; before its first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)


def matrix_rate(dtype: str, trials: int = 5) -> float:
    """Multiplications (each with its addition) a second in a matrix product of `PRODUCT`."""
    rows, inner, columns = PRODUCT
    a, b = (tf.cast(tf.random.normal(shape), dtype) for shape in ((rows, inner), (inner, columns)))
    product = tf.function(lambda: tf.matmul(a, b))
    product()
    return math.prod(PRODUCT) / min(_seconds(product) for _ in range(trials))


def memory_rate(size: int = 2**29, trials: int = 5) -> float:
    """Bytes a second that `THREADS` threads copy: read and written ones count."""
    source = np.ones(size, np.uint8)
    target = np.ones(size, np.uint8)
    parts = list(zip(np.array_split(target, THREADS), np.array_split(source, THREADS), strict=True))
    with ThreadPoolExecutor(THREADS) as pool:

        def copy() -> None:
            list(pool.map(lambda pair: np.copyto(*pair), parts))

        return 2 * size / min(_seconds(copy) for _ in range(trials))


def disk_rate(folder: Path, size: int = 2**28, trials: int = 3) -> float:
    """Bytes a second read from a file that the operating system has been told to drop from memory.

    A virtual disk may still be cached by the host: this is what a program on this machine gets.
    """
    block = np.random.default_rng(0).bytes(BLOCK)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(size // BLOCK):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())

        def read() -> None:
            for start in range(0, size, BLOCK):
                os.pread(file.fileno(), BLOCK, start)

        seconds = []
        for _ in range(trials):
            os.posix_fadvise(file.fileno(), 0, size, os.POSIX_FADV_DONTNEED)
            seconds.append(_seconds(read))
        return size / min(seconds)


def multiplications(model: keras.Model, size: tuple[int, ...]) -> dict[str, int]:
    """Multiplications of each layer of VGG16 with NetVLAD for one input of shape `size`, forward.

    Products only: bias, normalisation and pooling are additions, or a thousandth.

    Args:
        model: the network or a part of it.
        size: [height, width, channels] of its input.
    """
    counted = [layer for layer in model.layers if layer.name == "netvlad" or isinstance(layer, keras.layers.Conv2D)]
    maps = keras.Model(model.input, [layer.input for layer in counted])
    shapes = maps.compute_output_shape((1, *size))
    result = {}
    for layer, (_, height, width, channels) in zip(counted, shapes, strict=True):
        # NetVLAD assigns each local descriptor to each cluster and adds it up there: two products of matrices.
        each = 2 * channels * layer.clusters if layer.name == "netvlad" else math.prod(layer.kernel.shape)
        result[layer.name] = height * width * each
    return result


def step_multiplications(by_layer: dict[str, int], first_trained: str) -> int:
    """Multiplications of a training step for one image, the layers before `first_trained` being frozen.

    Forward once; backward once for the weights and once for the input, which the first trained layer does not need.
    """
    names = list(by_layer)
    trained = names[names.index(first_trained) :]
    return sum(by_layer.values()) + sum(by_layer[name] for name in trained) + sum(by_layer[n] for n in trained[1:])


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="On the disk to be measured.")
    flags = parser.parse_args()
    limit_threads()
    for dtype in ("float32", "bfloat16"):
        print(f"{dtype} matrix product: {matrix_rate(dtype) / 1e9:.0f} G multiplications a second")
    print(f"memory: {memory_rate() / 1e9:.1f} GB a second\ndisk: {disk_rate(flags.folder) / 1e9:.2f} GB a second")


if __name__ == "__main__":
    main()
