"""Descriptors of many inputs, batch by batch."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from keras_sare.utils.progress import progress


def describe(
    model: keras.Model,
    batches: Iterable[tuple[tf.Tensor, tf.Tensor]],
    count: int,
    out: np.ndarray | None = None,
    description: str = "descriptors",
) -> np.ndarray:
    """Computes what `model` gives for every input and puts it in the order of the indices.

    Args:
        model: any model with one input and one output.
        batches: (indices int64 [batch], inputs [batch, ...]), as `keras_sare.datasets.image_batches` yields them.
            Batches may come in any order and shape.
        count: number of inputs.
        out: array [count, *output] to fill, for example a `np.memmap` for results larger than memory. By default a new
            float32 array.
        description: text of the progress bar.

    Returns:
        `out`.

    Raises:
        ValueError: some index was missing from `batches`.
    """
    forward = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    seen = np.zeros(count, bool)
    total = None
    if isinstance(batches, tf.data.Dataset) and (cardinality := int(batches.cardinality())) >= 0:
        total = cardinality
    for indices, inputs in progress(batches, description, total=total, unit="batch"):
        outputs = forward(inputs).numpy()
        if out is None:
            out = np.empty((count, *outputs.shape[1:]), "float32")
        rows = np.asarray(indices)
        out[rows] = outputs
        seen[rows] = True
    if out is None or not seen.all():
        raise ValueError(f"`batches` must hold all of {count} indices. Received: {int(seen.sum())} of them")
    return out
