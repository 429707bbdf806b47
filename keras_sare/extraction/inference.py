"""A model's inference as a graph."""

from typing import Any

import keras
import tensorflow as tf


class Inference:
    """Runs a model for inference, as a graph that is traced once for batches and images of every size.

    A graph of one size runs no faster, and tracing a network takes as long as describing tens of images.

    Args:
        forward: called as `forward(inputs, training=False)`, with images or maps [batch, height, width, channels],
            vectors [batch, channels], or a tuple of such.
        network: the model of images inside `forward`, where there is one: it may take one size only.
    """

    def __init__(self, forward: Any, network: keras.Model | None = None) -> None:
        self._compute = tf.function(lambda inputs: forward(inputs, training=False), autograph=False)
        self._any_size = network is None or set(network.inputs[0].shape[1:3]) == {None}
        self._traced: dict[Any, Any] = {}

    def __call__(self, inputs: Any) -> Any:
        """Computes what the model gives."""
        tensors = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        specs = tf.nest.map_structure(self._spec, tensors)
        key = tuple(tf.nest.flatten(specs))
        if key not in self._traced:
            self._traced[key] = self._compute.get_concrete_function(specs)
        return self._traced[key](*tf.nest.flatten(tensors))

    def _spec(self, tensor: Any) -> tf.TensorSpec:
        free = 3 if tensor.shape.rank == 4 and self._any_size else 1
        return tf.TensorSpec([None] * free + tensor.shape[free:].as_list(), tensor.dtype)
