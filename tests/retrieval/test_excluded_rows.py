import inspect

import numpy as np
import pytest

from keras_sare.retrieval import nearest
from keras_sare.retrieval.excluded_rows import ExcludedRows


@pytest.fixture
def given():
    """Whole numbers: distances are exact, and many are equal."""
    rng = np.random.default_rng(5)
    queries, database = (rng.integers(-2, 3, (count, 4)).astype("float32") for count in (40, 300))
    excluded = [rng.permutation(300)[: rng.integers(0, 30)] for _ in range(39)]
    return queries, database, [*excluded, np.arange(250)]  # the last one is left 50 rows, all in the last blocks


@pytest.mark.parametrize("k", [1, 5, 50])
@pytest.mark.parametrize("block_rows", [64, 299, 1000])
def test_nearest_rows_that_are_not_barred_equal_a_full_sort(given, k, block_rows):
    queries, database, excluded = given

    distances, rows = nearest(queries, database, k, block_rows, excluded)

    for query in range(40):
        allowed = sorted(set(range(300)) - set(excluded[query].tolist()))
        exact = [(float(((queries[query] - database[row]) ** 2).sum()), row) for row in allowed]
        assert list(zip(distances[query].tolist(), rows[query].tolist(), strict=True)) == sorted(exact)[:k]


def test_rows_barred_beyond_a_hundred_leave_ties_in_order_of_index():
    # From a hundred neighbours on faiss keeps them in another structure.
    database = np.tile(np.float32([[0, 1], [1, 0]]), (300, 1))
    excluded = [np.arange(0, 600, 3)[:130]] * 25

    rows = nearest(np.zeros((25, 2), np.float32), database, 10, 512, excluded)[1]

    np.testing.assert_array_equal(rows, [[1, 2, 4, 5, 7, 8, 10, 11, 13, 14]] * 25)


def test_only_blocks_and_queries_with_barred_rows_are_searched_for_more(given, monkeypatch):
    queries, database = given[:2]
    names = inspect.unwrap(nearest).__globals__
    real = names["knn"]
    asked = []
    monkeypatch.setitem(names, "knn", lambda q, b, k: (asked.append((len(q), k)), real(q, b, k))[1])

    nearest(queries, database, 5, 100, [np.array([110, 120, 199])] + [np.zeros(0, int)] * 39)

    assert asked == [(40, 5), (39, 5), (1, 8), (40, 5)]


def test_counts_and_membership_are_looked_up_for_all_queries():
    excluded = ExcludedRows([np.array([7, 2, 2]), np.array([], int), np.array([9])], 10)

    np.testing.assert_array_equal(excluded.counts(0, 10), [2, 0, 1])
    np.testing.assert_array_equal(excluded.counts(3, 9), [1, 0, 0])
    np.testing.assert_array_equal(excluded.contains(np.array([0, 2]), np.array([[2, 9], [2, 9]])), [[1, 0], [0, 1]])


def test_excluded_rows_outside_the_database_are_refused():
    with pytest.raises(ValueError, match="`exclude` must hold database rows, 0 to 9. Received: rows from 3 to 10"):
        ExcludedRows([np.array([3]), np.array([10])], 10)


def test_too_few_rows_left_are_refused(given):
    with pytest.raises(ValueError, match="`exclude` must leave every query at least `k`.*only 50 of 300.*k=51"):
        nearest(*given[:2], 51, exclude=given[2])


def test_a_list_for_other_queries_is_refused(given):
    with pytest.raises(ValueError, match=r"one entry for each of the 40 queries. Received: len\(exclude\)=3"):
        nearest(*given[:2], 5, exclude=given[2][:3])
