"""The multi-similarity loss against its formula, written out over cosines."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from keras_sare.losses import MultiSimilarityLoss


@pytest.mark.parametrize(("alpha", "beta", "base"), [(2.0, 50.0, 0.5), (1.0, 3.0, -0.2)])
def test_value_and_gradient_are_those_of_the_formula(
    unit_tuples: Callable, value_and_gradient: Callable, alpha: float, beta: float, base: float
) -> None:
    x = unit_tuples(batch=6)
    cosines = np.einsum("td,tid->ti", x[:, 0], x[:, 1:])
    pull = np.exp(-alpha * (cosines[:, :1] - base))
    push = np.exp(beta * (cosines[:, 1:] - base))
    all_push = push.sum(axis=1, keepdims=True)
    value, gradient = value_and_gradient(MultiSimilarityLoss(alpha, beta, base), x)
    expected = np.log1p(pull) / alpha + np.log1p(all_push) / beta
    np.testing.assert_allclose(value, expected[:, 0], rtol=1e-10)

    by_cosine = np.concatenate([-pull / (1 + pull), push / (1 + all_push)], axis=1)
    # The cosine is 1 - d / 2, so that its gradient by an embedding y is q - y.
    closed = by_cosine[..., None] * (x[:, :1] - x[:, 1:])
    np.testing.assert_allclose(gradient[:, 1:], closed, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(gradient[:, 0], -closed.sum(axis=1), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("argument", ["alpha", "beta"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf])
def test_a_steepness_that_is_no_positive_number_is_refused(argument: str, value: float) -> None:
    message = rf"`{argument}` must be a positive, finite number. Received: {argument}={value}"
    with pytest.raises(ValueError, match=message):
        MultiSimilarityLoss(**{argument: value})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tuple_without_negatives_keeps_its_positive_term(
    dtype: str, unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    x = unit_tuples().astype(dtype)
    value, _ = value_and_gradient(MultiSimilarityLoss(), x, np.zeros((4, 3)))
    d = np.sum((x[:, 0] - x[:, 1]) ** 2, axis=-1)
    np.testing.assert_allclose(value, np.log1p(np.exp(-2 * (0.5 - d / 2))) / 2, rtol=1e-5)
