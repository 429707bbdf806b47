"""R-MAC from a feature map: ours against the straightforward way, region after region, and against its floor.

    python benchmarks/rmac.py
    python benchmarks/rmac.py --share=480,640        # and what part of describing a photo it is

Straightforward is what the public implementations do: crop each region of `region_grid`, take the maximum of each
channel, normalise, add up; once in a TensorFlow graph, once in numpy. Ours reads the map once: the regions' edges cut
it into cells, and regions are maxima of cells. All get the same maps and give the same descriptors, which is checked.
All take turns; a figure is the median over the rounds, "times faster" the median of the ratios within a round.

The floor of a forward pass is the bytes of the map over the rate at which this machine reads memory; MAC, the maximum
of the whole map in TensorFlow, is what a pass over it costs there. The gradient of a sum of the descriptors is measured
too, for training.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from machine import limit_threads
from same_images import THREADS

from keras_sare.layers import MAC, RMAC, region_grid
from keras_sare.models import build

CHANNELS = 512
MAPS = ((30, 40), (64, 48))

Way = Callable[[tf.Tensor], object]


def in_graph(maps: tf.Tensor) -> tf.Tensor:
    """Region after region in TensorFlow; the sizes must be known when it is traced."""
    total = 0.0
    for y, x, height, width in region_grid(maps.shape[1], maps.shape[2]):
        total += tf.math.l2_normalize(tf.reduce_max(maps[:, y : y + height, x : x + width], axis=(1, 2)), axis=1)
    return tf.math.l2_normalize(total, axis=1)


def in_numpy(maps: tf.Tensor) -> np.ndarray:
    """Region after region in numpy."""
    array = maps.numpy()
    total = 0.0
    for y, x, height, width in region_grid(*array.shape[1:3]):
        region = array[:, y : y + height, x : x + width].max(axis=(1, 2))
        total = total + region / np.linalg.norm(region, axis=1, keepdims=True)
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def traced(way: Way, shape: tuple[int | None, ...]) -> tf.types.experimental.PolymorphicFunction:
    """A graph for inputs of one shape."""
    return tf.function(way, input_signature=[tf.TensorSpec(shape)], autograph=False)


def gradient(way: Way, shape: tuple[int | None, ...]) -> tf.types.experimental.PolymorphicFunction:
    """A graph of the gradient of the descriptors' sum."""
    return traced(lambda maps: tf.gradients(tf.reduce_sum(way(maps)), maps)[0], shape)


def seconds(way: Way, maps: tf.Tensor) -> float:
    """Duration of one call, its result in memory."""
    start = time.perf_counter()
    np.asarray(way(maps))
    return time.perf_counter() - start


def in_turns(ways: dict[str, Way], maps: tf.Tensor, rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each way in each round, after three that do not count; every other round the other way about."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 3):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            taken[name].append(seconds(ways[name], maps))
    return {name: np.array(each[3:]) for name, each in taken.items()}


def reading_rate(size: int, trials: int = 20) -> float:
    """Bytes a second that `THREADS` threads read of an array of `size` bytes, the best of several trials.

    An array of a map's size, because a small one stays in the processor's cache for all ways alike.
    """
    parts = np.array_split(np.ones(size // 4, np.float32), THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        taken = []
        for _ in range(trials):
            start = time.perf_counter()
            list(pool.map(np.max, parts))
            taken.append(time.perf_counter() - start)
    return size / min(taken)


def compare(size: tuple[int, int], batch: int, rounds: int) -> None:
    """Prints the rows of one shape of maps."""
    shape = (batch, *size, CHANNELS)
    maps = tf.random.uniform(shape)
    unknown = (None, None, None, CHANNELS)
    layer = RMAC()
    ways = {
        "region by region, TensorFlow": traced(in_graph, shape),
        "region by region, numpy": in_numpy,
        "ours": traced(layer, shape),
        "ours, any size": traced(layer, unknown),
        "MAC": traced(MAC(), shape),
    }
    for name, way in ways.items():
        if name != "MAC":
            np.testing.assert_allclose(way(maps), in_numpy(maps), atol=1e-6)
    forward = in_turns(ways, maps, rounds)
    backward = in_turns(
        {
            "region by region, TensorFlow": gradient(in_graph, shape),
            "ours": gradient(layer, shape),
            "ours, any size": gradient(layer, unknown),
            "MAC": gradient(MAC(), shape),
        },
        maps,
        max(3, rounds // 4),
    )
    first = "region by region, TensorFlow"
    for name, taken in forward.items():
        cells = [f"{1000 * np.median(taken):.2f}", f"{np.median(forward[first] / taken):.1f}"]
        if name in backward:
            cells += [f"{1000 * np.median(backward[name]):.1f}", f"{np.median(backward[first] / backward[name]):.1f}"]
        else:
            cells += ["", ""]
        print(f"| {'x'.join(map(str, shape))} | {name} | {' | '.join(cells)} |", flush=True)
    size_in_bytes = 4 * maps.shape.num_elements()
    print(f"| {'x'.join(map(str, shape))} | floor | {1000 * size_in_bytes / reading_rate(size_in_bytes):.2f} | | | |")


def share(height: int, width: int, rounds: int) -> None:
    """Prints what part of describing a photo with VGG16 and R-MAC is R-MAC."""
    model = build("vgg16_rmac", weights=None)
    photo = tf.random.uniform((1, height, width, 3), maxval=255)
    whole = traced(lambda x: model(x, training=False), photo.shape)
    maps = tf.random.uniform((1, height // 16, width // 16, CHANNELS))
    pooling = {"ours": traced(RMAC(), maps.shape), "straightforward": traced(in_graph, maps.shape)}
    description = float(np.median(in_turns({"whole": whole}, photo, max(3, rounds // 8))["whole"]))
    print(f"\nA photo of {height} x {width} with VGG16 and R-MAC: {description:.2f} s")
    for name, taken in in_turns(pooling, maps, rounds).items():
        print(f"R-MAC, {name}: {1000 * np.median(taken):.2f} ms, {100 * np.median(taken) / description:.2f} %")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--share", help="height,width of a photo")
    flags = parser.parse_args()
    limit_threads()
    print("| maps | way | forward, ms | times faster | with gradient, ms | times faster |")
    print("|---|---|---:|---:|---:|---:|", flush=True)
    for size in MAPS:
        for batch in map(int, flags.batches.split(",")):
            compare(size, batch, flags.rounds)
    if flags.share:
        height, width = map(int, flags.share.split(","))
        share(height, width, flags.rounds)


if __name__ == "__main__":
    main()
