"""The contrastive loss against literal numbers, naive loops and closed-form gradients."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from keras_sare.losses import ContrastiveLoss, contrastive

GOLDEN = 0.2522811276
"""Value for the squared distances .5 (positive) and .6, .8, .4 (negatives) at margin .7."""


def test_the_value_is_the_golden_one() -> None:
    value = contrastive(np.array([0.5]), np.array([[0.6, 0.8, 0.4]]))
    assert float(value[0]) == pytest.approx(GOLDEN, abs=1e-9)


def test_embeddings_give_the_golden_value_too() -> None:
    x = np.concatenate([np.zeros((1, 4)), np.diag(np.sqrt([0.5, 0.6, 0.8, 0.4]))])[None]
    assert float(ContrastiveLoss(dtype="float64")(np.zeros(1), x)) == pytest.approx(GOLDEN, abs=1e-9)


@pytest.mark.parametrize("margin", [0.7, 1.3, 2.0])
def test_it_equals_a_naive_loop(margin: float, unit_tuples: Callable, value_and_gradient: Callable) -> None:
    x = unit_tuples()
    naive = []
    for query, positive, *negatives in x:
        value = 0.5 * np.linalg.norm(query - positive) ** 2
        for negative in negatives:
            value += 0.5 * max(0.0, margin - np.linalg.norm(query - negative)) ** 2
        naive.append(value)
    np.testing.assert_allclose(value_and_gradient(ContrastiveLoss(margin), x)[0], naive, rtol=1e-12)


def test_the_gradient_is_the_closed_form(unit_tuples: Callable, value_and_gradient: Callable) -> None:
    margin = 1.3
    x = unit_tuples()
    closed = np.zeros_like(x)
    for gradient, (query, positive, *negatives) in zip(closed, x, strict=True):
        gradient[1] = positive - query
        for i, negative in enumerate(negatives, start=2):
            distance = np.linalg.norm(query - negative)
            gradient[i] = max(0.0, margin - distance) * (query - negative) / distance
        gradient[0] = -gradient[1:].sum(axis=0)
    np.testing.assert_allclose(value_and_gradient(ContrastiveLoss(margin), x)[1], closed, rtol=1e-6, atol=1e-12)
    assert 0 < (closed[:, 2:] == 0).all(axis=-1).sum() < 30, "negatives on both sides of the margin are tested"


def test_a_negative_that_coincides_with_its_query_costs_the_whole_margin() -> None:
    assert float(contrastive(np.array([0.0]), np.array([[0.0]]), margin=0.7)[0]) == pytest.approx(0.5 * 0.7**2)


@pytest.mark.parametrize("margin", [0.0, -0.7, math.inf, math.nan])
def test_a_margin_that_is_no_positive_number_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match=rf"`margin` must be a positive, finite number. Received: margin={margin}"):
        ContrastiveLoss(margin=margin)
    with pytest.raises(ValueError, match="`margin` must be a positive"):
        contrastive(np.zeros(1), np.zeros((1, 1)), margin=margin)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tuple_without_negatives_keeps_its_positive_term(
    dtype: str, unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    x = unit_tuples().astype(dtype)
    value, _ = value_and_gradient(ContrastiveLoss(1.5), x, np.zeros((4, 3)))
    d = np.sum((x[:, 0] - x[:, 1]) ** 2, axis=-1)
    np.testing.assert_allclose(value, d / 2, rtol=1e-5)
