"""Time and memory of a training step on images of unlike sizes, against two simpler ways. VGG16 from conv5_1 on, MAC.

    python benchmarks/bucketing.py            # a published batch: 5 tuples of 7 images, longer side 362; 3 minutes

The images are 35 stored maps of pool4 (random, ReLU'd), in the sizes that photographs of 3:4, 2:3, 9:16 and 1:1 have,
upright and lying. `bucketed` is the step of this project; `bucketed_chunk` the same with gradient caching. `one_by_one`
passes each image by itself and keeps all activations, as cirtorch does, through a traced model. `one_size` is what
distorting all images to one size would take: as many pixels altogether, in one batch. `padded` is the same with all
images padded to the size that holds them all, which would also change the descriptors. Each variant runs in a process
of its own; `step GiB` is what the steps added to its memory. The error is the norm of the difference to the gradient of
`one_by_one`, over the norm; the last two are of other images.
"""

import argparse
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
from keras_sare.losses import ContrastiveLoss
from keras_sare.training.step import make_train_step

CUT = "conv5_1"
CHANNELS = 512
RATE = 2.0**-20
"""A power of two, so that the velocity after the first step is the gradient, scaled exactly."""
SIZES = {(17, 22): 15, (22, 17): 8, (15, 22): 6, (22, 15): 3, (13, 22): 2, (22, 22): 1}
"""Of the maps, and how many images of 35 have each."""
VARIANTS = ("bucketed", "bucketed_chunk", "one_by_one", "one_size", "padded")


def make_maps() -> tuple[np.ndarray, np.ndarray]:
    """Padded maps float32 [35, 22, 22, 512] and their sizes, int32 [35, 2], in random order."""
    random = np.random.default_rng(0)
    sizes = random.permutation(np.repeat(list(SIZES), list(SIZES.values()), axis=0)).astype(np.int32)
    maps = np.zeros((len(sizes), *sizes.max(axis=0), CHANNELS), np.float32)
    for values, (height, width) in zip(maps, sizes, strict=True):
        of_the_image = 1.5 * random.standard_normal(CHANNELS, np.float32)  # Or all descriptors were alike.
        noise = random.standard_normal((height, width, CHANNELS), np.float32)
        values[:height, :width] = np.maximum(noise + of_the_image, 0)
    return maps, sizes


def one_size(sizes: np.ndarray) -> np.ndarray:
    """Maps of one size that have as many positions altogether, to the nearest width."""
    height = 17
    width = round(float(np.prod(sizes, axis=1).mean()) / height)
    return np.maximum(np.random.default_rng(1).standard_normal((len(sizes), height, width, CHANNELS), np.float32), 0)


def make_step(variant: str, model: keras.Model, sgd: keras.optimizers.Optimizer, tuples: int) -> Callable[[], float]:
    """One step of a variant, to its loss."""
    maps, sizes = make_maps()
    ids = tf.constant(np.arange(len(sizes)).reshape(tuples, -1))
    if variant == "one_by_one":
        return lambda: step_one_by_one(model, sgd, maps, sizes, ids.shape)
    if variant.startswith("bucketed"):
        inputs = {"values": tf.constant(cut(maps, tuples)), "sizes": tf.constant(cut(sizes, tuples))}
    else:
        inputs = tf.constant(cut(maps if variant == "padded" else one_size(sizes), tuples))
    options: dict[str, Any] = {"chunk": 4} if variant == "bucketed_chunk" else {}
    step = make_train_step(tf.distribute.get_strategy(), model, ContrastiveLoss(), sgd, 0.0, **options)
    return lambda: float(step(ids, inputs))


def cut(values: np.ndarray, tuples: int) -> np.ndarray:
    """Images as tuples."""
    return values.reshape(tuples, -1, *values.shape[1:])


def step_one_by_one(
    model: keras.Model, sgd: keras.optimizers.Optimizer, maps: np.ndarray, sizes: np.ndarray, shape: tuple[int, int]
) -> float:
    """The straightforward step: every image by itself."""
    if not hasattr(model, "traced"):
        spec = tf.TensorSpec((1, None, None, CHANNELS))
        model.traced = tf.function(lambda image: model(image, training=True), input_signature=[spec])
    with tf.GradientTape() as tape:
        each = [model.traced(maps[i, :height, :width][None]) for i, (height, width) in enumerate(sizes)]
        loss = tf.reduce_mean(ContrastiveLoss().call(None, tf.reshape(tf.concat(each, 0), (*shape, -1))))
    sgd.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    return float(loss)


def measure(flags: argparse.Namespace) -> None:
    """Runs one variant and prints what it took."""
    keras.utils.set_random_seed(0)
    model = models.build("vgg16_mac", None)
    models.freeze_before(model, CUT)
    head = models.split(model, CUT)[1]
    sgd = keras.optimizers.SGD(RATE, momentum=0.9)
    sgd.build(head.trainable_variables)
    step = make_step(flags.only, head, sgd, flags.tuples)
    before = peak()
    loss = step()
    gradient = [keras.ops.convert_to_numpy(v).ravel() / -RATE for v in sgd.momentums]
    np.save(Path(flags.folder) / f"{flags.only}.npy", np.concatenate(gradient).astype(np.float64))
    measured = []
    for _ in range(flags.steps):
        wall = time.perf_counter()
        processor = time.process_time()
        step()
        measured.append((time.perf_counter() - wall, time.process_time() - processor))
    seconds, processor_seconds = np.min(measured, axis=0).tolist()
    print(json.dumps({"seconds": seconds, "processor": processor_seconds, "memory": peak() - before, "loss": loss}))


def peak() -> float:
    """Peak memory of this process, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run(variant: str, folder: str) -> dict[str, Any]:
    """The figures of a variant."""
    command = [sys.executable, *sys.argv, "--only", variant, "--folder", folder]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    """Runs every variant in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuples", type=int, default=5, help="That the 35 images are cut into: 5, 7 or 1.")
    parser.add_argument("--steps", type=int, default=3, help="The fastest counts.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=VARIANTS, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.only:
        tf.config.threading.set_intra_op_parallelism_threads(flags.threads)
        tf.config.threading.set_inter_op_parallelism_threads(flags.threads)
        measure(flags)
        return
    print("| variant | s a step | ratio | processor s | ratio | step GiB | loss | gradient error |\n|---|" + 7 * "---|")
    with tempfile.TemporaryDirectory() as folder:
        results = {variant: run(variant, folder) for variant in VARIANTS}
        gradients = {variant: np.load(Path(folder) / f"{variant}.npy") for variant in VARIANTS}
    base = results["bucketed"]
    exact = gradients["one_by_one"]
    for name, result in results.items():
        error = np.linalg.norm(gradients[name] - exact) / np.linalg.norm(exact)
        ratios = [result[key] / base[key] for key in ("seconds", "processor")]
        print(
            f"| {name} | {result['seconds']:.2f} | {ratios[0]:.2f} | {result['processor']:.2f} | {ratios[1]:.2f} | "
            f"{result['memory']:.2f} | {result['loss']:.5f} | {error:.1e} |"
        )


if __name__ == "__main__":
    main()
