import logging

import numpy as np
import pytest

from keras_sare.evaluation import DEFAULT_NS, evaluate, recall_at


def _arrays(*lists):
    return [np.array(one, np.int64) for one in lists]


def _naive_recall(predictions, positives, ns):
    return [
        np.mean([any(p in mine for p in row[:n]) for row, mine in zip(predictions, positives, strict=True)]) for n in ns
    ]


def _unit(rng, rows, features=6):
    vectors = rng.standard_normal((rows, features)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _evaluate(*args, **kwargs):
    return evaluate(*args, protocol="recall@N, 25 m", dataset="toy", **kwargs)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def line():
    """Five database images at 0, 1, 2, 3, 4 and queries just left of 0 and just right of 3."""
    return np.float32([[-0.1], [3.1]]), np.arange(5, dtype=np.float32)[:, None]


def test_the_default_ns_are_those_of_netvlad():
    assert DEFAULT_NS == (1, 2, 3, 4, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100)


def test_literal_recalls():
    predictions = np.array([[4, 1, 0], [2, 3, 5], [0, 1, 2]])

    recalls = recall_at(predictions, _arrays([4], [9, 5], [7]), [1, 2, 3])

    np.testing.assert_allclose(recalls, [1 / 3, 1 / 3, 2 / 3])
    assert recalls.dtype == np.float64


def test_recall_equals_a_naive_loop(rng):
    predictions = np.argsort(rng.random((50, 30)), axis=1)[:, :12]
    positives = [rng.choice(30, rng.integers(1, 4), replace=False) for _ in range(50)]

    recalls = recall_at(predictions, positives, [1, 2, 5, 12])

    np.testing.assert_allclose(recalls, _naive_recall(predictions, positives, [1, 2, 5, 12]))


def test_recall_never_falls_with_n(rng):
    predictions = np.argsort(rng.random((20, 30)), axis=1)

    assert (np.diff(recall_at(predictions, [np.array([i]) for i in range(20)], range(1, 31))) >= 0).all()


def test_a_query_without_a_positive_is_a_miss_and_is_reported(caplog):
    with caplog.at_level(logging.WARNING, "keras_sare"):
        recalls = recall_at(np.array([[0, 1], [1, 0], [0, 1], [1, 0]]), _arrays([0], [], [1], [0]), [2])

    np.testing.assert_allclose(recalls, [0.75])
    assert "1 queries (25.0 %) have no positive and count as misses" in caplog.text


def test_no_warning_when_every_query_has_a_positive(caplog):
    recall_at(np.array([[0], [1]]), _arrays([0], [0]), [1])

    assert caplog.text == ""


def test_a_missing_prediction_is_never_a_hit():
    assert recall_at(np.array([[-1, 3]]), _arrays([-1]), [1]).tolist() == [0.0]


def test_no_query_with_a_positive_is_an_error():
    with pytest.raises(ValueError, match="same coordinates.*2 of 2 queries without a positive"):
        recall_at(np.array([[0], [1]]), _arrays([], []), [1])


def test_predictions_and_positives_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"predictions.shape=\(2, 1\), len\(positives\)=1"):
        recall_at(np.array([[0], [1]]), _arrays([0]), [1])


@pytest.mark.parametrize("ns", [[], [0], [1, 3]])
def test_ns_beyond_the_predictions_are_refused(ns):
    with pytest.raises(ValueError, match="`ns` must hold numbers between 1 and the 2 predictions"):
        recall_at(np.array([[0, 1]]), _arrays([0]), ns)


def test_evaluate_reports_what_it_measured(line):
    report, predictions = _evaluate(*line, _arrays([1], [3]))

    np.testing.assert_array_equal(predictions, [[0, 1, 2, 3, 4], [3, 4, 2, 1, 0]])
    assert (report.protocol, report.dataset) == ("recall@N, 25 m", "toy")
    assert (report.queries, report.database, report.queries_without_positive) == (2, 5, 0)
    assert report.ns == (1, 2, 3, 4, 5)
    assert report.recalls == (0.5, 1.0, 1.0, 1.0, 1.0)


def test_evaluate_equals_a_full_sort(rng):
    queries = _unit(rng, 30)
    database = _unit(rng, 120)
    positives = [rng.choice(120, 3, replace=False) for _ in range(30)]
    ranking = np.argsort(np.square(queries[:, None] - database).sum(-1), axis=1)

    report, predictions = _evaluate(queries, database, positives)

    np.testing.assert_array_equal(predictions, ranking[:, :100])
    np.testing.assert_allclose(report.recalls, _naive_recall(ranking, positives, DEFAULT_NS))


def test_excluded_images_are_neither_retrieved_nor_positive(line, caplog):
    report, predictions = _evaluate(*line, _arrays([0, 2], [3]), ns=(1, 2), exclude=_arrays([0], [3, 4]))

    np.testing.assert_array_equal(predictions, [[1, 2], [2, 1]])
    assert report.recalls == (0.0, 0.5)
    assert report.queries_without_positive == 1
    assert "1 queries (50.0 %)" in caplog.text


def test_exclusion_equals_a_search_in_what_is_left(rng):
    queries = _unit(rng, 20)
    database = _unit(rng, 60)
    positives = [rng.choice(60, 4, replace=False) for _ in range(20)]
    exclude = [np.sort(rng.choice(60, rng.integers(0, 30), replace=False)) for _ in range(20)]

    predictions = _evaluate(queries, database, positives, ns=(1, 10), exclude=exclude)[1]

    for query, excluded, found in zip(queries, exclude, predictions, strict=True):
        ranking = np.argsort(np.square(query - database).sum(-1))
        np.testing.assert_array_equal(found, [index for index in ranking if index not in excluded][:10])


def test_a_query_with_fewer_candidates_is_padded(line):
    report, predictions = _evaluate(*line, _arrays([4], [3]), exclude=_arrays([0, 1, 2, 3], []))

    assert predictions[0].tolist() == [4, -1, -1, -1, -1]
    assert report.recalls == (1.0,) * 5


def test_everything_excluded_is_an_error(line):
    with pytest.raises(ValueError, match="2 of 2 queries without a positive"):
        _evaluate(*line, _arrays([0], [1]), exclude=[np.arange(5)] * 2)


@pytest.mark.parametrize("ns", [(), (0, 1), (6, 7)])
def test_ns_outside_the_database_are_refused(line, ns):
    with pytest.raises(ValueError, match="`ns` must hold numbers from 1 to the database size, 5"):
        _evaluate(*line, _arrays([0], [1]), ns=ns)


@pytest.mark.parametrize("index", [-1, 5])
def test_indices_outside_the_database_are_refused(line, index):
    with pytest.raises(ValueError, match=rf"`positives`.*0 to 4.*positives\[1\] from {index} to {index}"):
        _evaluate(*line, _arrays([0], [index]))
    with pytest.raises(ValueError, match=rf"`exclude`.*0 to 4.*exclude\[0\] from {index} to {index}"):
        _evaluate(*line, _arrays([0], [1]), exclude=_arrays([index], []))


def test_lists_of_another_length_than_the_queries_are_refused(line):
    with pytest.raises(
        ValueError, match="`positives` must hold one array for each query. Received: 1 arrays, 2 queries"
    ):
        _evaluate(*line, _arrays([0]))
    with pytest.raises(ValueError, match="`exclude` must hold one array for each query. Received: 3 arrays, 2 queries"):
        _evaluate(*line, _arrays([0], [1]), exclude=_arrays([], [], []))
