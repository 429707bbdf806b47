"""A model on all replicas of this process."""

from typing import Any

import keras
import tensorflow as tf


class SplitModel:
    """A model whose batches are split over the replicas of this worker; no replica waits for another one."""

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy, replicas: int) -> None:
        self.model = model
        self.strategy = strategy
        self.replicas = replicas
        self.output = model.output

    def __call__(self, inputs: Any, training: bool) -> Any:
        count = tf.shape(inputs)[0]
        # Every replica must have the same number of images, and at least one: some are computed twice and dropped.
        size = -(-count // self.replicas)
        padded = tf.gather(inputs, tf.range(size * self.replicas) % count)
        parts = iter(tf.split(padded, self.replicas))
        values = self.strategy.experimental_distribute_values_from_function(lambda _: next(parts))
        outputs = self.strategy.run(self.model, (values,), {"training": training})
        return tf.concat(self.strategy.experimental_local_results(outputs), 0)[:count]
