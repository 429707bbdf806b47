"""One step of training on a batch of tuples, on every replica."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_sare.losses import TupleLoss


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    loss: TupleLoss,
    optimizer: keras.optimizers.Optimizer,
    weight_decay: float,
) -> Callable[[Any], Any]:
    """Makes the function that trains `model` on one batch of tuples.

    The gradient is that of the mean loss over the tuples of all replicas, plus weight_decay * weight as MatConvNet and
    PyTorch's SGD add it (Keras's own `weight_decay` leaves it out of the momentum: ten times weaker at 0.9).

    Args:
        strategy: the strategy under whose scope `model` and `optimizer` were made.
        model: gives descriptors [n, dim] of inputs [n, ...]. Its trainable weights are trained.
        loss: one value per tuple; their mean is taken, so its reduction must be Keras' default, and the scale of the
            gradient is its `scale`.
        optimizer: updates the weights.
        weight_decay: factor of the weights in the gradient.

    Returns:
        Function from inputs [tuples, tuple size, ...], or the per-replica values of a distributed dataset, to the mean
        loss over all tuples, float32 scalar.

    Raises:
        ValueError: the loss has another reduction.
    """
    if loss.reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(
            "`loss` must have the reduction 'sum_over_batch_size': the mean over tuples is trained. A sum is that at a "
            f"learning rate as many times larger. Received: loss.reduction={loss.reduction!r}"
        )
    variables = model.trainable_variables
    replicas = strategy.num_replicas_in_sync

    def on_replica(inputs: Any) -> Any:
        shape = tf.shape(inputs)
        with tf.GradientTape() as tape:
            descriptors = model(tf.reshape(inputs, tf.concat([[-1], shape[2:]], 0)), training=True)
            tuples = tf.reshape(descriptors, (-1, inputs.shape[1], descriptors.shape[-1]))
            # Every replica holds the same number of tuples, and the optimizer adds up the replicas' gradients.
            mean = tf.reduce_mean(loss.call(None, tuples)) / replicas
        gradients = tape.gradient(mean, variables)
        decayed = [g + weight_decay / replicas * v for g, v in zip(gradients, variables, strict=True)]
        optimizer.apply(decayed, variables)
        return mean

    @tf.function
    def step(inputs: Any) -> Any:
        return strategy.reduce("SUM", strategy.run(on_replica, (inputs,)), axis=None)

    return step
