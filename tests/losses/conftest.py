"""Helpers that the tests of the losses share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import TupleLoss


def _unit_tuples(batch: int = 4, negatives: int = 3, dim: int = 5) -> np.ndarray:
    x = np.random.default_rng(3).normal(size=(batch, 2 + negatives, dim))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _value_and_gradient(loss: TupleLoss, x: np.ndarray, y_true: Any = None) -> tuple[np.ndarray, np.ndarray]:
    embeddings = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        values = loss.call(None if y_true is None else tf.constant(y_true), embeddings)
    return values.numpy(), tape.gradient(values, embeddings).numpy()


@pytest.fixture(scope="session")
def unit_tuples() -> Callable[..., np.ndarray]:
    """Makes float64 [batch, 2 + negatives, dim], unit vectors."""
    return _unit_tuples


@pytest.fixture(scope="session")
def value_and_gradient() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Returns the values [batch] of a loss of embeddings, and the gradient of their sum by the embeddings."""
    return _value_and_gradient
