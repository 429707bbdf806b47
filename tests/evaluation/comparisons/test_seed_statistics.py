import numpy as np
import pytest
from scipy import stats

from keras_sare.evaluation.comparisons.seed_statistics import estimate_difference, estimate_mean, holm
from keras_sare.evaluation.verdict import paired_difference


def crossed(rng, seeds, queries, of_seeds, of_queries, left):
    """Values with mean 0 over all seeds and queries that there could be."""
    parts = rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, of_queries, (1, queries))
    return parts + rng.normal(0, left, (seeds, queries))


@pytest.mark.parametrize(("of_seeds", "least"), [(0.0, 0.93), (0.02, 0.93), (0.2, 0.88)])
def test_the_interval_holds_the_true_mean_about_as_often_as_it_says_whatever_varies(of_seeds, least):
    rng = np.random.default_rng(0)
    estimates = [estimate_mean(crossed(rng, 3, 200, of_seeds, 0.3, 0.2)) for _ in range(500)]
    covered = np.mean([one.low <= 0 <= one.high for one in estimates])
    assert least < covered < 0.985
    # The p-value says the same as the interval.
    assert all((one.p_value < 0.05) == (not one.low <= 0 <= one.high) for one in estimates)


def test_a_bootstrap_of_three_seeds_would_hold_it_less_often():
    rng = np.random.default_rng(1)
    outside = 0
    for _ in range(100):
        values = crossed(rng, 3, 50, 0.2, 0.3, 0.2)
        drawn_seeds = rng.multinomial(3, [1 / 3] * 3, 200) / 3
        drawn_queries = rng.multinomial(50, [0.02] * 50, 200) / 50
        low, high = np.quantile(((drawn_seeds @ values) * drawn_queries).sum(axis=1), (0.025, 0.975))
        outside += not low <= 0 <= high
    assert outside > 15


def test_queries_alone_or_seeds_alone_give_students_interval():
    rng = np.random.default_rng(2)
    of_queries = rng.normal(0.1, 1, 50)
    for values, sample in (
        (of_queries[None], of_queries),
        (np.tile(rng.normal(0.1, 1, 4)[:, None], 30), None),
    ):
        sample = values[:, 0] if sample is None else sample
        expected = stats.ttest_1samp(sample, 0)
        found = estimate_mean(values)
        assert found.value == pytest.approx(sample.mean())
        assert found.p_value == pytest.approx(expected.pvalue)
        assert found.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_where_nothing_varies_the_interval_is_the_mean():
    assert estimate_mean(np.zeros((3, 10))).interval == (0, 0)
    assert estimate_mean(np.zeros((3, 10))).p_value == 1
    assert estimate_mean(np.ones((3, 10))).p_value == 0


def test_differences_are_paired_by_seed_and_query():
    rng = np.random.default_rng(3)
    second = rng.random((3, 300)) < rng.random(300)
    first = second | (rng.random((3, 300)) < 0.05)
    found = estimate_difference(first, second)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.low > 0
    # The recalls' own intervals overlap by far.
    assert estimate_mean(first).low < estimate_mean(second).high


def test_one_seed_is_compared_as_two_models_are():
    first = np.arange(40) < 12
    second = np.arange(40) < 9
    found = estimate_difference(first[None], second[None])
    expected = paired_difference(first, second)
    assert (found.value, found.interval, found.p_value) == (expected.difference, expected.interval, 0.25)


def test_holms_correction_is_as_published():
    # Times 4, 3, 2, 1 from the smallest on; never less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize("shape", [(0, 5), (3, 1), (4,)])
def test_too_little_to_estimate_is_refused(shape):
    with pytest.raises(ValueError, match="`values` must be"):
        estimate_mean(np.zeros(shape))


def test_other_seeds_or_queries_are_refused():
    with pytest.raises(ValueError, match="same seeds and queries"):
        estimate_difference(np.zeros((2, 5), bool), np.zeros((3, 5), bool))
