"""Helpers that the tests of the losses share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import LOSSES, TupleLoss, get

MAKERS: dict[str, Callable[..., TupleLoss]] = {name: partial(get, name) for name in LOSSES}
MAKERS |= {
    f"{kernel}-{mode}": partial(get, f"sare_{mode}", kernel=kernel)
    for kernel in ("cauchy", "exponential")
    for mode in ("independent", "joint")
}
MAKERS |= {
    # The Cauchy kernel at a high temperature falls slowest of all.
    "cauchy-warm": partial(get, "sare_joint", kernel="cauchy", temperature=10.0),
    "gaussian-cool": partial(get, "sare_joint", temperature=0.14),
    "contrastive-far": partial(get, "contrastive", margin=1.5),
    "triplet-far": partial(get, "triplet", margin=1.0),
    "triplet-unsquared": partial(get, "triplet", margin=1.0, squared=False),
}


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


@pytest.fixture(scope="session")
def makers() -> dict[str, Callable[..., TupleLoss]]:
    """Every loss of `LOSSES` and variants of them, by name; each takes more arguments of its class."""
    return MAKERS


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[..., TupleLoss]:
    """Each of `makers`, one after the other."""
    return MAKERS[request.param]
