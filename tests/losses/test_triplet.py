"""The triplet loss against literal numbers, naive loops and closed-form gradients."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from keras_sare.losses import TripletLoss, triplet

# Both projects' settings, and their value for the squared distances .5 (positive) and .6, .8, .4 (negatives).
RELJA = {"margin": 0.1}
OPENIBL = {"margin": 0.1**0.5, "squared": False, "scale": "divide_by_negatives"}
GOLDEN = [(RELJA, 0.2), (OPENIBL, 0.2561747498)]


def naive_loss(t: np.ndarray, margin: float, squared: bool) -> float:
    positive, *negatives = [float(np.sum((t[0] - other) ** 2)) ** (1 if squared else 0.5) for other in t[1:]]
    return sum(max(0.0, positive + margin - negative) for negative in negatives)


def closed_form_gradient(t: np.ndarray, margin: float, squared: bool) -> np.ndarray:
    gradient = np.zeros_like(t)
    away = t[0] - t[1:]
    d = np.sum(away**2, axis=-1) ** (1 if squared else 0.5)
    direction = 2 * away if squared else away / d[:, None]
    violating = d[1:] < d[0] + margin
    gradient[1] = -violating.sum() * direction[0]
    gradient[2:] = violating[:, None] * direction[1:]
    gradient[0] = -gradient[1:].sum(axis=0)
    return gradient


@pytest.mark.parametrize(("settings", "golden"), GOLDEN, ids=["Relja", "OpenIBL"])
def test_the_value_is_the_golden_one(settings: dict, golden: float) -> None:
    x = np.concatenate([np.zeros((1, 4)), np.diag(np.sqrt([0.5, 0.6, 0.8, 0.4]))])[None]
    assert float(TripletLoss(**settings, dtype="float64")(np.zeros(1), x)) == pytest.approx(golden, abs=1e-9)


def test_the_function_takes_squared_distances_whatever_it_compares() -> None:
    positive = np.array([0.5])
    negatives = np.array([[0.6, 0.8, 0.4]])
    assert float(triplet(positive, negatives)[0]) == pytest.approx(0.2, abs=1e-9)
    unsquared = triplet(positive, negatives, margin=0.1**0.5, squared=False)
    assert float(unsquared[0]) == pytest.approx(3 * 0.2561747498, abs=1e-9)


@pytest.mark.parametrize("margin", [0.1, 0.1**0.5, 0.5])
@pytest.mark.parametrize("squared", [True, False])
def test_value_and_gradient_are_those_of_a_naive_loop(
    unit_tuples: Callable, value_and_gradient: Callable, margin: float, squared: bool
) -> None:
    x = unit_tuples(batch=6, negatives=5)
    value, gradient = value_and_gradient(TripletLoss(margin, squared), x)
    np.testing.assert_allclose(value, [naive_loss(t, margin, squared) for t in x], rtol=1e-12, atol=1e-15)
    closed = np.array([closed_form_gradient(t, margin, squared) for t in x])
    np.testing.assert_allclose(gradient, closed, rtol=1e-6, atol=1e-12)
    assert 0 < (closed[:, 2:] == 0).all(axis=-1).sum() < 30, "negatives on both sides of the margin are tested"


@pytest.mark.parametrize("margin", [0.0, -0.1, math.inf, math.nan])
def test_a_margin_that_is_no_positive_number_is_refused(margin: float) -> None:
    message = rf"`margin` must be a positive, finite number. Received: margin={margin}"
    with pytest.raises(ValueError, match=message):
        TripletLoss(margin=margin)
    with pytest.raises(ValueError, match=message):
        triplet(np.zeros(1), np.zeros((1, 1)), margin=margin)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tuple_without_negatives_costs_nothing(
    squared: bool, dtype: str, unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    x = unit_tuples().astype(dtype)
    value, gradient = value_and_gradient(TripletLoss(1.0, squared=squared), x, np.zeros((4, 3)))
    assert (value == 0).all()
    assert (gradient == 0).all()
