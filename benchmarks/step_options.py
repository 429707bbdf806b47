"""Time, memory and gradient of a training step under each of its options, VGG16 from conv5_1 on and NetVLAD 64.

    python benchmarks/step_options.py                                          # 240x320, one tuple: 3 minutes
    python benchmarks/step_options.py --size=480,640 --variants=plain,chunk,mixed_bfloat16,100_negatives_chunk
    python benchmarks/step_options.py --profile                                # where the time goes

Inputs are stored maps of pool4 (random, ReLU'd, float16), but for `pixels`, where the frozen part runs in the step, and
`pixels_at_once`, where it is a part of the trained model instead. Each variant runs in a process of its own; `peak` is
that of the whole process, `step` what the steps added to it. The
error is the norm of the difference to the gradient of `plain`, over the norm. The floor is the multiplications of the
trained part, once forward and twice backward, over the rate of a matrix product of the same dtype that is as large as a
convolution of the plain step, measured in the same process.
"""

import argparse
import collections
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare import models
from keras_sare.losses import SARELoss
from keras_sare.training.step import make_train_step

CLUSTERS = 64
CHANNELS = 512
CUT = "conv5_1"
RATE = 2.0**-20
"""A power of two, so that the velocity after the first step is the gradient, scaled exactly."""
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "chunk": {"chunk": 4},
    "jit_compile": {"jit_compile": True},
    "jit_compile_chunk": {"jit_compile": True, "chunk": 4},
    "mixed_bfloat16": {"precision": "mixed_bfloat16"},
    "mixed_float16": {"precision": "mixed_float16"},
    "mixed_bfloat16_chunk": {"precision": "mixed_bfloat16", "chunk": 4},
    "100_negatives": {"negatives": 100},
    "100_negatives_chunk": {"negatives": 100, "chunk": 12},
    "pixels": {"pixels": True, "frozen": True},
    "pixels_at_once": {"pixels": True},
}
FIGURES = {
    "seconds": "s a step",
    "processor": "processor s",
    "first": "first step s",
    "floor": "floor s",
    "processor_floor": "floor processor s",
    "peak": "peak GiB",
    "step": "step GiB",
}
DEFAULT = "plain,chunk,jit_compile,mixed_bfloat16,mixed_float16,100_negatives_chunk"


def make_parts(precision: str) -> tuple[keras.Model, keras.Model, keras.Model]:
    """Whole model, frozen part, trained part."""
    keras.utils.set_random_seed(0)
    model = models.build("vgg16_netvlad", None, clusters=CLUSTERS)
    centroids = np.random.default_rng(0).standard_normal((CLUSTERS, CHANNELS))
    model.get_layer("netvlad").set_clusters(centroids / np.linalg.norm(centroids, axis=1, keepdims=True), 20.0)
    models.freeze_before(model, CUT)
    models.set_precision(model, precision)
    return (model, *models.split(model, CUT))


def make_batch(flags: argparse.Namespace, negatives: int, pixels: bool) -> tuple[Any, Any]:
    """Ids and inputs of tuples that share no image."""
    height, width = flags.size
    shape = (flags.tuples, 2 + negatives, height, width, 3)
    random = np.random.default_rng(0)
    ids = tf.constant(np.arange(flags.tuples * (2 + negatives)).reshape(shape[:2]))
    if pixels:
        return ids, tf.constant(random.integers(0, 255, shape, np.uint8))
    maps = np.empty((*shape[:2], height // 16, width // 16, CHANNELS), np.float16)
    for image in np.ndindex(*shape[:2]):
        of_the_image = 1.5 * random.standard_normal(CHANNELS, np.float32)  # Or all descriptors were alike.
        maps[image] = np.maximum(random.standard_normal(maps.shape[2:], np.float32) + of_the_image, 0)
    return ids, tf.constant(maps)


def measure(flags: argparse.Namespace) -> None:
    """Runs one variant and prints what it took."""
    variant = VARIANTS[flags.only]
    precision = variant.get("precision", "float32")
    negatives = variant.get("negatives", flags.negatives)
    whole, trunk, head = make_parts(precision)
    model = whole if variant.get("pixels") and not variant.get("frozen") else head
    optimizer = keras.optimizers.SGD(RATE, momentum=0.9)
    sgd = optimizer
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(sgd, initial_scale=flags.loss_scale)
    optimizer.build(model.trainable_variables)
    step = make_train_step(
        tf.distribute.get_strategy(),
        model,
        SARELoss(),
        optimizer,
        weight_decay=0.0,
        frozen=trunk if variant.get("frozen") else None,
        chunk=variant.get("chunk", 0),
        jit_compile=variant.get("jit_compile", False),
    )
    batch = make_batch(flags, negatives, variant.get("pixels", False))
    before = peak()
    started = time.perf_counter()
    loss = float(step(*batch))
    first = time.perf_counter() - started
    np.savez(Path(flags.folder) / f"{flags.only}.npz", *[keras.ops.convert_to_numpy(v) / -RATE for v in sgd.momentums])
    seconds, processor = best(lambda: float(step(*batch)), flags.steps)
    result = {"seconds": seconds, "processor": processor, "first": first, "loss": loss}
    result |= {"peak": peak(), "step": peak() - before}
    positions = flags.size[0] // 16 * (flags.size[1] // 16)
    images = flags.tuples * (2 + negatives)
    product = product_seconds(precision, positions)
    share = multiplications(positions) * images / (12 * positions * 9 * CHANNELS**2)
    result |= {"floor": share * product[0], "processor_floor": share * product[1]}
    if flags.profile:
        profile(lambda: float(step(*batch)))
    print(json.dumps(result))


def multiplications(positions: int) -> float:
    """Of the trained part for an image: three convolutions forward, by filter, and two by input; NetVLAD likewise."""
    return positions * (8 * 9 * CHANNELS**2 + 6 * CHANNELS * CLUSTERS)


def product_seconds(precision: str, positions: int) -> tuple[float, float]:
    """Wall and processor seconds of a matrix product as large as a convolution of twelve images."""
    dtype = keras.dtype_policies.get(precision).compute_dtype
    left = tf.ones((12 * positions, 9 * CHANNELS), dtype)
    right = tf.ones((9 * CHANNELS, CHANNELS), dtype)
    product = tf.function(lambda: tf.reduce_max(tf.matmul(left, right)))
    product()
    return best(lambda: float(product()), 3)


def best(function: Callable[[], float], repetitions: int) -> tuple[float, float]:
    """Fewest wall and processor seconds of some calls: the machine may be shared."""
    measured = []
    for _ in range(repetitions):
        wall = time.perf_counter()
        processor = time.process_time()
        function()
        measured.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(wall for wall, _ in measured), min(processor for _, processor in measured)


def peak() -> float:
    """Peak memory of this process, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def profile(function: Callable[[], float]) -> None:
    """Prints the seconds of one call by kind of operation, all threads together."""
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        function()
        tf.profiler.experimental.stop()
        from tensorflow.python.profiler.internal import _pywrap_profiler_plugin as plugin

        files = [str(path) for path in Path(folder).rglob("*.xplane.pb")]
        table = json.loads(plugin.xspace_to_tools_data(files, "framework_op_stats", {})[0])[0]
    kind, seconds = (
        next(i for i, c in enumerate(table["cols"]) if c["id"] == name) for name in ("type", "total_self_time")
    )
    sums: collections.Counter[str] = collections.Counter()
    for cells in (one["c"] for one in table["rows"]):
        sums[cells[kind]["v"]] += cells[seconds]["v"] / 1e6
    for name, total in sums.most_common(12):
        print(f"{name:40s} {total:8.3f}", file=sys.stderr)


def gradient(folder: str, variant: str) -> np.ndarray:
    """All gradients of a variant, one after the other."""
    with np.load(Path(folder) / f"{variant}.npz") as arrays:
        return np.concatenate([arrays[name].ravel() for name in arrays.files]).astype(np.float64)


def main() -> None:
    """Runs every variant in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split(","))), default=(240, 320))
    parser.add_argument("--tuples", type=int, default=1)
    parser.add_argument("--negatives", type=int, default=10)
    parser.add_argument("--variants", default=DEFAULT, help=f"Some of {', '.join(VARIANTS)}.")
    parser.add_argument("--steps", type=int, default=3, help="The fastest counts.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loss_scale", type=float, default=256.0, help="Of float16.")
    parser.add_argument("--profile", action="store_true", help="Print each step's time by operation.")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=VARIANTS, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.only:
        tf.config.threading.set_intra_op_parallelism_threads(flags.threads)
        tf.config.threading.set_inter_op_parallelism_threads(flags.threads)
        measure(flags)
        return
    print(
        f"{flags.size[0]}x{flags.size[1]}, {flags.tuples} tuples, {flags.negatives} negatives, {flags.threads} threads"
    )
    columns = "variant", *FIGURES.values(), "loss", "gradient error"
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.variants.split(","):
            command = [sys.executable, *sys.argv, "--only", name, "--folder", folder]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            row(name, folder, json.loads(output.splitlines()[-1]))


def row(name: str, folder: str, result: dict[str, float]) -> None:
    """Prints a row of the table."""
    error = float("nan")
    if (Path(folder) / "plain.npz").is_file() and "negatives" not in VARIANTS[name] and "pixels" not in VARIANTS[name]:
        plain = gradient(folder, "plain")
        error = float(np.linalg.norm(gradient(folder, name) - plain) / np.linalg.norm(plain))
    figures = [f"{result[key]:.2f}" for key in FIGURES]
    print(f"| {name} | {' | '.join(figures)} | {result['loss']:.6f} | {error:.1e} |", flush=True)


if __name__ == "__main__":
    main()
