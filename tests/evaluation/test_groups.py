import numpy as np
import pytest

from keras_sare.datasets import same_group


@pytest.mark.parametrize("kind", [np.int64, str])
def test_each_query_gets_the_images_of_its_group_rising(kind):
    queries = np.array([2, 9, 1]).astype(kind)
    database = np.array([1, 2, 1, 2, 3]).astype(kind)

    groups = same_group(queries, database)

    assert [group.tolist() for group in groups] == [[1, 3], [], [0, 2]]
    assert all(group.dtype == np.int64 for group in groups)


def test_equals_a_naive_comparison():
    rng = np.random.default_rng(0)
    queries = rng.integers(0, 40, 100)
    database = rng.integers(0, 40, 300)

    for label, group in zip(queries, same_group(queries, database), strict=True):
        np.testing.assert_array_equal(group, np.flatnonzero(database == label))


def test_text_labels_of_different_length_are_compared_whole():
    assert [group.tolist() for group in same_group(["floor1", "floor10"], ["floor10", "floor1"])] == [[1], [0]]


def test_text_of_variable_width_is_compared_as_it_reads():
    """Labels as `PlaceDataset` holds them; from 16 bytes on they lie in another place of numpy's memory."""
    rng = np.random.default_rng(0)
    names = np.array([f"a floor with a long name, walk {i}" for i in range(20)])
    queries = names[rng.integers(0, 20, 50)]
    database = names[rng.integers(0, 18, 90)]
    text = np.dtypes.StringDType()
    for label, group in zip(queries, same_group(queries.astype(text), database.astype(text)), strict=True):
        np.testing.assert_array_equal(group, np.flatnonzero(database == label))


def test_memory_is_shared_and_read_only():
    groups = same_group(np.zeros(3, int), np.zeros(5, int))

    assert np.shares_memory(groups[0], groups[2])
    with pytest.raises(ValueError, match="read-only"):
        groups[0][0] = 7


def test_an_empty_side_gives_empty_groups():
    assert same_group([], ["a"]) == []
    assert [group.tolist() for group in same_group(["a"], [])] == [[]]


def test_labels_of_different_kinds_are_refused():
    with pytest.raises(ValueError, match="both be text or both be numbers"):
        same_group(["1"], [1])


def test_labels_that_are_not_flat_are_refused():
    with pytest.raises(ValueError, match=r"one label per image.*database_groups.shape=\(1, 1\)"):
        same_group([1], [[1]])
