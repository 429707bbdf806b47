import numpy as np
import pytest

from export.quantisation.gptq import gptq, nearest_on_grid


def correlated_inputs(samples, inputs, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, 4)) @ rng.normal(size=(4, inputs)) + 0.1 * rng.normal(size=(samples, inputs))


def output_error(inputs, weights, rounded):
    return np.square(inputs @ weights - inputs @ rounded).sum()


@pytest.fixture
def weights():
    return np.random.default_rng(1).normal(size=(300, 6)).astype("float32")


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_each_output_has_at_most_so_many_equidistant_values(weights, bits):
    rounded = gptq(weights, np.eye(300), bits)
    for column in rounded.T:
        levels = np.unique(np.abs(column[column != 0]))
        step = levels.min() if bits < 8 else np.diff(np.unique(np.append(levels, 0))).min()
        np.testing.assert_allclose(levels / step, np.round(levels / step), rtol=1e-5)
        assert np.round(levels.max() / step) <= 2 ** (bits - 1) - 1


@pytest.mark.parametrize("bits", [4, 8])
def test_largest_weight_of_each_output_takes_the_last_value_so_that_the_step_is_found_again(weights, bits):
    inputs = correlated_inputs(1000, 300)
    rounded = gptq(weights, inputs.T @ inputs, bits)
    largest = np.abs(weights).argmax(axis=0)
    steps = np.abs(rounded).max(axis=0) / (2 ** (bits - 1) - 1)
    np.testing.assert_array_equal(np.abs(rounded).max(axis=0), np.abs(rounded[largest, range(6)]))
    np.testing.assert_allclose(rounded / steps, np.round(rounded / steps), atol=1e-4)


def test_uncorrelated_inputs_get_the_nearest_values(weights):
    np.testing.assert_array_equal(gptq(weights, np.eye(300), 4), nearest_on_grid(weights, 4))


def test_nearest_values_are_within_half_a_step_where_nothing_is_clipped():
    weights = np.linspace(-1, 1, 15)[:, None].astype("float32")
    np.testing.assert_allclose(nearest_on_grid(weights, 4), weights, atol=1e-6)


def test_errors_are_made_up_for_where_inputs_are_correlated(weights):
    inputs = correlated_inputs(1000, 300)
    rounded = gptq(weights, inputs.T @ inputs, 4)
    assert output_error(inputs, weights, rounded) < 0.2 * output_error(inputs, weights, nearest_on_grid(weights, 4))


def test_of_two_equal_inputs_the_second_takes_back_what_the_first_rounded_away():
    # Steps of 1 (the largest weight is 7): 0.4 + 0.4 is rounded to 0 + 1, and not to 0 + 0.
    weights = np.array([[0.4], [0.4], [7.0]], "float32")
    inputs = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rounded = gptq(weights, inputs.T @ inputs, 4)
    assert sorted(rounded[:2, 0].tolist()) == [0.0, 1.0]


def test_rounding_in_blocks_is_rounding_one_by_one(weights, monkeypatch):
    inputs = correlated_inputs(1000, 300)
    at_once = gptq(weights, inputs.T @ inputs, 4)
    monkeypatch.setattr("export.quantisation.gptq.BLOCK", 7)
    np.testing.assert_allclose(gptq(weights, inputs.T @ inputs, 4), at_once, atol=1e-6)


def test_inputs_that_are_always_zero_do_no_harm(weights):
    inputs = correlated_inputs(1000, 300)
    inputs[:, :50] = 0
    rounded = gptq(weights, inputs.T @ inputs, 4)
    assert np.isfinite(rounded).all()
    np.testing.assert_allclose(rounded[:50], nearest_on_grid(weights, 4)[:50], atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "moments", "bits", "message"),
    [
        (np.ones((3, 2)), np.eye(2), 4, r"`second_moments` \[inputs, inputs\]. Received: weights.shape=\(3, 2\)"),
        (np.ones((3, 2)), np.eye(3), 1, "`bits` must be at least 2. Received: bits=1"),
        (np.full((3, 2), np.nan), np.eye(3), 4, "must be finite"),
    ],
)
def test_bad_input_is_refused(weights, moments, bits, message):
    with pytest.raises(ValueError, match=message):
        gptq(weights, moments, bits)
