"""Numbers made of all answers, against loops, and against scikit-learn where it has them."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from keras_sare.evaluation.measures import numbers
from keras_sare.evaluation.measures.bootstrap import RESAMPLES, intervals, query_weights

QUERIES = 60


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.fixture
def answers(rng):
    """Scores with ties, of which the right ones are higher more often than not."""
    hits = rng.random(QUERIES) < 0.6
    return np.round(rng.random(QUERIES) + 0.4 * hits, 1), hits


def once(count=QUERIES):
    return np.ones(count, np.int64)


def repeated(values, weights):
    return np.repeat(values, weights)


def test_average_precision_of_known_rankings():
    matches = np.array([[4, 1, 7], [3, 9, 5], [0, 1, 2], [6, -1, -1]])
    positives = [np.array([1, 4]), np.array([5]), np.array([], int), np.array([6, 8, 2])]
    found = numbers.average_precisions_at(matches, positives, [1, 2, 3])
    np.testing.assert_allclose(found, [[1, 1, 1], [0, 0, 1 / 3], [0, 0, 0], [1, 1 / 2, 1 / 3]])


def test_area_is_scikit_learns_average_precision(answers, rng):
    scores, hits = answers
    assert numbers.precision_recall_area(scores, hits, once()) == pytest.approx(average_precision_score(hits, scores))
    weights = rng.integers(0, 4, (5, QUERIES))
    expected = [average_precision_score(hits, scores, sample_weight=each) for each in weights]
    np.testing.assert_allclose(numbers.precision_recall_area(scores, hits, weights), expected)


def test_score_that_tells_right_from_wrong_has_area_one_whatever_the_recall():
    hits = np.arange(10) < 3
    assert numbers.precision_recall_area(10.0 - np.arange(10), hits, once(10)) == 1
    assert numbers.precision_recall_area(np.zeros(10), hits, once(10)) == pytest.approx(0.3)
    assert numbers.precision_recall_area(np.zeros(10), np.zeros(10, bool), once(10)) == 0


def test_recall_at_full_precision_counts_above_the_best_wrong_answer(answers):
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    answerable = np.array([True, True, True, True, False])
    for hits, expected in (([1, 1, 0, 1, 0], 2 / 4), ([0, 1, 1, 1, 1], 0), ([1, 1, 1, 1, 0], 1)):
        found = numbers.recall_at_full_precision(scores, np.array(hits, bool), answerable, once(5))
        assert found == pytest.approx(expected)
    tied = numbers.recall_at_full_precision(np.array([0.9, 0.8, 0.8]), np.array([1, 1, 0], bool), once(3) > 0, once(3))
    assert tied == pytest.approx(1 / 3)
    scores, hits = answers
    right = (scores > scores[~hits].max()).sum()
    assert numbers.recall_at_full_precision(scores, hits, once() > 0, once()) == pytest.approx(right / QUERIES)


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_weighted_mean_and_median_are_those_of_repeated_values(rng, size):
    values = rng.random(size)
    weights = rng.integers(1, 5, (6, size))
    for number, naive in ((numbers.weighted_mean, np.mean), (numbers.weighted_median, np.median)):
        expected = [naive(repeated(values, each)) for each in weights]
        np.testing.assert_allclose(number(values, weights), expected)


def test_error_without_a_match_is_infinite_where_it_counts():
    values = np.array([1.0, 2.0, np.inf])
    weights = np.array([[1, 1, 1], [2, 1, 0]])
    np.testing.assert_allclose(numbers.weighted_mean(values, weights), [np.inf, 4 / 3])
    np.testing.assert_allclose(numbers.weighted_median(values, weights), [2, 1])


def test_resamples_are_of_all_queries_and_those_of_the_seed():
    weights = np.concatenate(list(query_weights(7, seed=3)))
    assert weights.shape == (RESAMPLES, 7)
    assert (weights.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(weights, np.concatenate(list(query_weights(7, seed=3))))
    assert (weights != np.concatenate(list(query_weights(7, seed=4)))).any()
    assert abs(weights.mean() - 1) < 1e-12


def test_interval_of_a_share_is_the_binomials(rng):
    hits = rng.random(400) < 0.7
    share = hits.mean()
    [(low, high)] = intervals({"share": lambda weights: numbers.weighted_mean(hits, weights)}, 400).values()
    expected = 1.96 * np.sqrt(share * (1 - share) / 400)
    assert low == pytest.approx(share - expected, abs=0.01)
    assert high == pytest.approx(share + expected, abs=0.01)
