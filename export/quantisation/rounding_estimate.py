"""How long rounding a model by GPTQ is going to take on this machine."""

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

_SIDE = 1024
"""Of the matrices whose product is timed."""

_REPEATS = 3


def rounding_seconds(
    model: keras.Model, layers: Sequence[keras.layers.Conv2D], photo: np.ndarray, photos: int, positions: int
) -> float:
    """Estimates the time from one photo through the model and one product of matrices, both timed here.

    Args:
        model: that is rounded.
        layers: its layers that are rounded, first to last.
        photo: [1, height, width, 3].
        photos: how many go through the model up to each of the layers.
        positions: of each photo that a layer's inputs are sampled at, at most.

    Returns:
        Seconds. Another program's work, and a machine that grows hot, make it more.
    """
    forward = _timed(lambda: model(photo, training=False))
    square = np.random.default_rng(0).normal(size=(_SIDE, _SIDE)).astype(np.float32)
    product = _timed(lambda: tf.matmul(square, square)) / _SIDE**3  # For each multiplication.
    seconds = 0.0
    for number, layer in enumerate(layers, start=1):
        size = int(np.prod(layer.kernel.shape[:-1]))
        outputs = layer.kernel.shape[-1]
        height, width = keras.Model(model.input, layer.output).compute_output_shape(photo.shape)[1:3]
        moments = min(height * width, positions) * size**2 * product
        seconds += photos * (forward * number / len(layers) + moments)
        # Two factorisations and an inversion take 2/3 n^3 multiplications, in float64 and at half a product's pace; and
        # what the rounded rows leave to the others.
        seconds += (4 * 2 / 3 * size**3 + size**2 * outputs) * product
    return seconds


def _timed(work: Callable[[], object]) -> float:
    """The fastest of a few calls, after one to warm up: others' work on the machine disturbs some of them."""
    work()
    seconds = []
    for _ in range(_REPEATS):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return min(seconds)
