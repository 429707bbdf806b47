"""The learning rate of a run that is under way."""

import keras
import numpy as np


def set_learning_rate(optimizer: keras.optimizers.Optimizer, value: float) -> None:
    """Changes the learning rate so that momentum goes on as in MatConvNet and PyTorch.

    These keep the sum of gradients m = momentum * m + g and take the step lr * m, so that a new rate counts for all of
    it. SGD of Keras keeps v = momentum * v - lr * g: after a halving it would go on at the old rate for as long as the
    momentum lasts (ten steps at 0.9). Its v is therefore scaled by new / old. Other optimizers keep sums that do not
    hold the rate, and get the new rate alone.

    Args:
        optimizer: any, or a `keras.optimizers.LossScaleOptimizer` around it; without a learning rate schedule.
        value: the new learning rate, greater than 0.

    Raises:
        ValueError: `value` is not a positive number.
    """
    if not 0 < value < float("inf"):
        raise ValueError(f"`value` must be a positive, finite learning rate. Received: value={value}")
    inner = optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer
    # The optimizer holds the rate in float32, so that the same rate must be compared as such.
    ratio = float(np.float32(value)) / float(inner.learning_rate)
    if isinstance(inner, keras.optimizers.SGD) and inner.built and ratio != 1:
        for velocity in inner.momentums:
            velocity.assign(keras.ops.multiply(velocity, ratio))
    inner.learning_rate = value
