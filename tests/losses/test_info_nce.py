"""InfoNCE against a naive softmax over cosines."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from keras_sare.losses import InfoNCELoss, SARELoss


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_value_and_gradient_are_those_of_a_softmax_over_cosines(
    unit_tuples: Callable, value_and_gradient: Callable, temperature: float
) -> None:
    x = unit_tuples(batch=6)
    cosines = np.einsum("td,tid->ti", x[:, 0], x[:, 1:])
    softmax = np.exp(cosines / temperature)
    softmax /= softmax.sum(axis=1, keepdims=True)
    value, gradient = value_and_gradient(InfoNCELoss(temperature), x)
    np.testing.assert_allclose(value, -np.log(softmax[:, 0]), rtol=1e-10)

    by_cosine = (softmax - [1, 0, 0, 0]) / temperature
    # The cosine is 1 - d / 2, so that its gradient by an embedding y is q - y.
    closed = by_cosine[..., None] * (x[:, :1] - x[:, 1:])
    np.testing.assert_allclose(gradient[:, 1:], closed, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(gradient[:, 0], -closed.sum(axis=1), rtol=1e-6, atol=1e-12)


def test_at_temperature_half_it_is_joint_gaussian_sare(unit_tuples: Callable, value_and_gradient: Callable) -> None:
    x = unit_tuples()
    for ours, sare in zip(
        value_and_gradient(InfoNCELoss(0.5), x), value_and_gradient(SARELoss(mode="joint"), x), strict=True
    ):
        np.testing.assert_allclose(ours, sare, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_no_positive_number_is_refused(temperature: float) -> None:
    message = rf"`temperature` must be a positive, finite number. Received: temperature={temperature}"
    with pytest.raises(ValueError, match=message):
        InfoNCELoss(temperature=temperature)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tuple_without_negatives_costs_nothing(
    dtype: str, unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    x = unit_tuples().astype(dtype)
    value, gradient = value_and_gradient(InfoNCELoss(), x, np.zeros((4, 3)))
    assert (value == 0).all()
    assert (gradient == 0).all()
