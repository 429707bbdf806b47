"""Descriptors of many images, computed by all replicas of all workers."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.distribution.workers import Workers
from keras_sare.extraction.extractor import Extractor
from keras_sare.extraction.inputs import Inputs


class Describer:
    """Computes what a model gives for many images; every worker gets all of it. Keep one for a model.

    Each worker computes one contiguous part, and splits each of its batches over its replicas. On a single device this
    is `keras_sare.models.Extractor`. Elsewhere a batch has another size on the device, for which a library may choose
    another order of summation: descriptors of unit length differ by some 1e-7.

    Args:
        model: any model with one input and one output.
        strategy: of the run.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy) -> None:
        self.workers = Workers(strategy)
        replicas = self.workers.local_replicas
        self._extractor = Extractor(model if replicas == 1 else SplitModel(model, strategy, replicas))
        self.output_shape = self._extractor.output_shape

    def __call__(
        self, inputs: Inputs, ids: np.ndarray, batch_size: int, out: np.ndarray | None = None, description: str = ""
    ) -> np.ndarray:
        """Computes the outputs of some images. With several workers, all must make this call.

        Args:
            inputs: what the model is fed, by image id.
            ids: int64 [n] images.
            batch_size: images in a worker's batch.
            out: array [n, *output] to fill, for example a `np.memmap` for results larger than memory. By default a new
                float32 array.
            description: text of the progress bar.

        Returns:
            `out`, in the order of `ids`, on every worker.

        Raises:
            WorkerLostError: another worker stopped.
        """
        if out is None:
            out = np.empty((len(ids), *self.output_shape), np.float32)
        own = self.workers.share(len(ids))
        if len(own):
            batches = inputs.batches(ids[own], batch_size)
            self._extractor(batches, len(own), out[own[0] : own[-1] + 1], description)
        self.workers.fill(out)
        return out


class SplitModel:
    """A model whose batches are split over the replicas of this worker; no replica waits for another one."""

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy, replicas: int) -> None:
        self.model, self.strategy, self.replicas, self.output = model, strategy, replicas, model.output

    def __call__(self, inputs: Any, training: bool) -> Any:
        count = tf.shape(inputs)[0]
        # Every replica must have the same number of images, and at least one: some are computed twice and dropped.
        size = -(-count // self.replicas)
        padded = tf.gather(inputs, tf.range(size * self.replicas) % count)
        parts = iter(tf.split(padded, self.replicas))
        values = self.strategy.experimental_distribute_values_from_function(lambda _: next(parts))
        outputs = self.strategy.run(self.model, (values,), {"training": training})
        return tf.concat(self.strategy.experimental_local_results(outputs), 0)[:count]
