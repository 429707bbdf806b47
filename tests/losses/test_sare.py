"""SARE against literal numbers, naive loops and closed-form gradients."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import SARELoss, sare

# k(d) of a squared distance d = |x - y|^2, and the factor f(d) with which the gradient of -log k by x is f(d) (x - y).
KERNELS: dict[str, tuple[Callable, Callable]] = {
    "gaussian": (lambda d: math.exp(-d), lambda d: 2.0),
    "cauchy": (lambda d: 1 / (1 + d), lambda d: 2 / (1 + d)),
    "exponential": (lambda d: math.exp(-math.sqrt(d)), lambda d: 1 / math.sqrt(d)),
}
VARIANTS = list(itertools.product(KERNELS, ["independent", "joint"]))

# Value for the squared distances .5 (positive) and .6, .8, .4 (negatives); the independent ones summed over negatives.
GOLDEN = {
    ("gaussian", "independent"): 1.9431485647,
    ("gaussian", "joint"): 1.3219762308,
    ("cauchy", "independent"): 1.9957727862,
    ("cauchy", "joint"): 1.3460612309,
    ("exponential", "independent"): 1.9950074286,
    ("exponential", "joint"): 1.3458429993,
}


def golden(kernel: str, mode: str) -> float:
    return GOLDEN[kernel, mode] / (3 if mode == "independent" else 1)


def at_temperature(kernel: str, temperature: float | None) -> tuple[Callable, Callable]:
    k, steepness = KERNELS[kernel]
    power = 1 if temperature is None else 1 / temperature
    return lambda d: k(d) ** power, lambda d: steepness(d) * power


def naive_loss(
    positive: float, negatives: list[float], kernel: str, mode: str, temperature: float | None = None
) -> float:
    k = at_temperature(kernel, temperature)[0]
    if mode == "joint":
        return -math.log(k(positive) / (k(positive) + sum(k(d) for d in negatives)))
    return sum(-math.log(k(positive) / (k(positive) + k(d))) for d in negatives) / len(negatives)


def closed_form_gradient(x: np.ndarray, kernel: str, mode: str, temperature: float | None = None) -> np.ndarray:
    """Gradient of one tuple [2 + negatives, dim]."""
    k, steepness = at_temperature(kernel, temperature)
    query = x[0]
    others = x[1:]
    d = [float(np.sum((query - other) ** 2)) for other in others]
    if mode == "joint":
        weights = [k(dn) / sum(k(every) for every in d) for dn in d[1:]]
    else:
        weights = [k(dn) / (k(d[0]) + k(dn)) / (len(d) - 1) for dn in d[1:]]
    gradient = np.zeros_like(x)
    gradient[1] = -sum(weights) * steepness(d[0]) * (query - others[0])
    for i, weight in enumerate(weights, start=1):
        gradient[1 + i] = weight * steepness(d[i]) * (query - others[i])
    gradient[0] = -gradient[1:].sum(axis=0)
    return gradient


@pytest.mark.parametrize(("kernel", "mode"), VARIANTS)
def test_the_value_is_the_golden_one(kernel: str, mode: str) -> None:
    value = sare(np.array([0.5]), np.array([[0.6, 0.8, 0.4]]), kernel, mode)
    assert float(value[0]) == pytest.approx(golden(kernel, mode), abs=1e-9)


@pytest.mark.parametrize(("kernel", "mode"), VARIANTS)
def test_embeddings_give_the_golden_value_too(kernel: str, mode: str) -> None:
    x = np.concatenate([np.zeros((1, 4)), np.diag(np.sqrt([0.5, 0.6, 0.8, 0.4]))])[None]
    value = SARELoss(kernel, mode, dtype="float64")(np.zeros(1), x)
    assert float(value) == pytest.approx(golden(kernel, mode), abs=1e-9)


@pytest.mark.parametrize("temperature", [None, 0.14, 3.0])
@pytest.mark.parametrize("negatives", [1, 10])
@pytest.mark.parametrize(("kernel", "mode"), VARIANTS)
def test_it_equals_a_naive_loop(
    kernel: str,
    mode: str,
    negatives: int,
    temperature: float | None,
    unit_tuples: Callable,
    value_and_gradient: Callable,
) -> None:
    x = unit_tuples(5, negatives)
    d = [[float(np.sum((t[0] - other) ** 2)) for other in t[1:]] for t in x]
    naive = [naive_loss(row[0], row[1:], kernel, mode, temperature) for row in d]
    np.testing.assert_allclose(value_and_gradient(SARELoss(kernel, mode, temperature), x)[0], naive, rtol=1e-11)


@pytest.mark.parametrize("temperature", [None, 0.14])
@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize(("kernel", "mode"), VARIANTS)
def test_the_gradient_is_the_closed_form(
    kernel: str,
    mode: str,
    negatives: int,
    temperature: float | None,
    unit_tuples: Callable,
    value_and_gradient: Callable,
) -> None:
    x = unit_tuples(4, negatives)
    closed = [closed_form_gradient(t, kernel, mode, temperature) for t in x]
    gradient = value_and_gradient(SARELoss(kernel, mode, temperature), x)[1]
    np.testing.assert_allclose(gradient, closed, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("kernel", "mode"), VARIANTS)
def test_the_scale_divide_by_negatives_divides_the_summed_gradient_by_batch_times_negatives(
    kernel: str, mode: str, unit_tuples: Callable
) -> None:
    batch = 4
    negatives = 3
    x = tf.constant(unit_tuples(batch, negatives))
    # The closed form of the independent mode is that of a mean over negatives.
    summed = np.array([closed_form_gradient(t, kernel, mode) for t in x.numpy()]) * (
        negatives if mode == "independent" else 1
    )
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = SARELoss(kernel, mode, scale="divide_by_negatives", dtype="float64")(tf.zeros(batch), x)
    np.testing.assert_allclose(tape.gradient(value, x), summed / (batch * negatives), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_joint_gaussian_is_a_softmax_of_dot_products_at_half_the_temperature(
    temperature: float | None, unit_tuples: Callable
) -> None:
    x = unit_tuples(5, 4)
    logits = np.einsum("td,tid->ti", x[:, 0], x[:, 1:]) / (0.5 * (temperature or 1))
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[:, 0]
    values = SARELoss(mode="joint", temperature=temperature).call(None, tf.constant(x))
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_the_joint_cauchy_gradient_is_the_published_formula(
    unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    query, positive, *negatives = unit_tuples(1, 3)[0]
    dp = np.sum((query - positive) ** 2)
    dn = [np.sum((query - n) ** 2) for n in negatives]
    factor = 2 / (1 + sum((1 + dp) / (1 + d) for d in dn))
    at_positive = factor * sum((positive - query) / (1 + d) for d in dn)
    at_negatives = [factor * (query - n) * (1 + dp) / (1 + d) ** 2 for n, d in zip(negatives, dn, strict=True)]

    gradient = value_and_gradient(SARELoss("cauchy", "joint"), np.stack([query, positive, *negatives])[None])[1][0]
    np.testing.assert_allclose(gradient[1:], [at_positive, *at_negatives], rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_with_one_negative_both_modes_are_the_same(kernel: str) -> None:
    d = np.random.default_rng(0).uniform(0, 4, size=(20, 2))
    joint, independent = (sare(d[:, 0], d[:, 1:], kernel, mode).numpy() for mode in ("joint", "independent"))
    np.testing.assert_allclose(joint, independent, rtol=1e-12)


@pytest.mark.parametrize(("kernel", "mode"), VARIANTS)
def test_far_images_do_not_overflow(kernel: str, mode: str) -> None:
    far = np.float32([1e8])
    near = np.float32([[0.0, 0.0]])
    lost = sare(far, near, kernel, mode)
    won = sare(near[:, 0], np.float32([[1e8, 1e8]]), kernel, mode)
    expected = {"gaussian": 1e8, "cauchy": math.log1p(1e8), "exponential": 1e4}[kernel]
    several = math.log(2) if mode == "joint" else 0
    assert float(lost[0]) == pytest.approx(expected + several, rel=1e-6)
    assert float(won[0]) == pytest.approx(0, abs=1e-7)


def test_an_unknown_kernel_is_refused_with_the_known_ones() -> None:
    message = "`kernel` must be one of gaussian, cauchy, exponential. Received: kernel='gauss'"
    with pytest.raises(ValueError, match=message):
        SARELoss(kernel="gauss")
    with pytest.raises(ValueError, match=message):
        sare(np.zeros(1), np.zeros((1, 1)), kernel="gauss")


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    message = "`mode` must be one of independent, joint. Received: mode='both'"
    with pytest.raises(ValueError, match=message):
        SARELoss(mode="both")
    with pytest.raises(ValueError, match=message):
        sare(np.zeros(1), np.zeros((1, 1)), mode="both")


@pytest.mark.parametrize("temperature", [0.0, -0.5, math.inf, math.nan])
def test_a_temperature_that_is_no_positive_number_is_refused(temperature: float) -> None:
    message = rf"`temperature` must be a positive, finite number. Received: temperature={temperature}"
    with pytest.raises(ValueError, match=message):
        SARELoss(temperature=temperature)
    with pytest.raises(ValueError, match=message):
        sare(np.zeros(1), np.zeros((1, 1)), temperature=temperature)


@pytest.mark.parametrize("mode", ["independent", "joint"])
@pytest.mark.parametrize("kernel", ["gaussian", "cauchy", "exponential"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tuple_without_negatives_costs_nothing(
    kernel: str, mode: str, dtype: str, unit_tuples: Callable, value_and_gradient: Callable
) -> None:
    x = unit_tuples().astype(dtype)
    value, gradient = value_and_gradient(SARELoss(kernel, mode), x, np.zeros((4, 3)))
    assert (value == 0).all()
    assert (gradient == 0).all()
