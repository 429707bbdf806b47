"""Descriptors of many inputs, batch by batch."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress


class Extractor:
    """Computes what a model gives for many inputs. Keep one for a model: its graph is traced once.

    Args:
        model: any model with one input and one output.
    """

    def __init__(self, model: keras.Model) -> None:
        self.output_shape = tuple(model.output.shape[1:])
        self._forward = tf.function(lambda x: model(x, training=False), reduce_retracing=True)

    @plain_arguments
    def __call__(
        self,
        batches: Iterable[tuple[Any, Any]],
        count: int,
        out: np.ndarray | None = None,
        description: str = "descriptors",
    ) -> np.ndarray:
        """Computes the outputs and puts them in the order of the indices.

        Args:
            batches: (indices int64 [batch], inputs [batch, ...]), as `keras_sare.datasets.image_batches` yields them.
                Batches may come in any order and shape.
            count: number of inputs.
            out: array [count, *output] to fill, for example a `np.memmap` for results larger than memory. By default a
                new float32 array.
            description: text of the progress bar.

        Returns:
            `out`.

        Raises:
            ValueError: some index was missing from `batches`.
        """
        seen = np.zeros(count, bool)
        for indices, inputs in progress(batches, description, count, "image", size=lambda batch: len(batch[0])):
            outputs = self._forward(inputs).numpy()
            if out is None:
                out = np.empty((count, *outputs.shape[1:]), "float32")
            rows = np.asarray(indices)
            out[rows] = outputs
            seen[rows] = True
        if out is None or not seen.all():
            raise ValueError(f"`batches` must hold all of {count} indices. Received: {int(seen.sum())} of them")
        return out
