import numpy as np
import pytest

from keras_sare.retrieval import nearest
from keras_sare.retrieval.faiss_backend import import_faiss


def _unit(rng, rows, features):
    vectors = rng.standard_normal((rows, features)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _naive(queries, database, k):
    distances = np.square(queries[:, None].astype(np.float64) - database[None]).sum(-1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), order


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_returns_float32_squared_distances_and_int64_indices(rng):
    distances, indices = nearest(_unit(rng, 3, 4), _unit(rng, 9, 4), k=5)

    assert (distances.shape, distances.dtype) == ((3, 5), np.float32)
    assert (indices.shape, indices.dtype) == ((3, 5), np.int64)


def test_literal_squared_distances():
    distances, indices = nearest(np.float32([[0, 0]]), np.float32([[3, 4], [1, 0], [0, 2]]), k=3)

    np.testing.assert_array_equal(distances, [[1, 4, 25]])
    np.testing.assert_array_equal(indices, [[1, 2, 0]])


@pytest.mark.parametrize("k", [1, 7, 150, 211])
@pytest.mark.parametrize("block_rows", [45, 210, 65536])
def test_equals_a_full_sort_for_every_block_size(rng, k, block_rows):
    queries = _unit(rng, 40, 16)
    database = _unit(rng, 211, 16)

    distances, indices = nearest(queries, database, k, block_rows)

    expected_distances, expected_indices = _naive(queries, database, k)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, atol=2e-6)


@pytest.mark.parametrize("block_rows", [64, 299, 300])
@pytest.mark.parametrize("k", [1, 4, 150, 300])
def test_equal_distances_are_ordered_by_index(block_rows, k):
    # Whole numbers: every distance is exact, so equal really is equal.
    database = np.tile(np.float32([[0, 1], [1, 0], [2, 2]]), (100, 1))

    indices = nearest(np.zeros((25, 2), np.float32), database, k, block_rows)[1]

    near = [row for row in range(300) if row % 3 != 2]
    far = [row for row in range(300) if row % 3 == 2]
    np.testing.assert_array_equal(indices, np.tile((near + far)[:k], (25, 1)))


def test_blocks_of_one_row_are_merged():
    distances, indices = nearest(np.float32([[0], [3]]), np.float32([[1], [3], [0], [7]]), k=2, block_rows=1)

    np.testing.assert_array_equal(distances, [[0, 1], [0, 4]])
    np.testing.assert_array_equal(indices, [[2, 0], [1, 0]])


def test_a_memory_map_gives_the_same_as_an_array(rng, tmp_path):
    queries = _unit(rng, 5, 8)
    database = _unit(rng, 100, 8)
    database.tofile(tmp_path / "database.f32")
    mapped = np.memmap(tmp_path / "database.f32", np.float32, mode="r", shape=(100, 8))

    for found, expected in zip(nearest(queries, mapped, 10, 33), nearest(queries, database, 10, 33), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_block_of_a_float32_memory_map_is_read_in_place(rng, tmp_path, monkeypatch):
    faiss = import_faiss()
    _unit(rng, 100, 8).tofile(tmp_path / "database.f32")
    mapped = np.memmap(tmp_path / "database.f32", np.float32, mode="r", shape=(100, 8))
    real = faiss.knn
    shared = []
    monkeypatch.setattr(
        faiss, "knn", lambda q, block, k: (shared.append(np.shares_memory(block, mapped)), real(q, block, k))[1]
    )

    nearest(_unit(rng, 5, 8), mapped, 10, block_rows=40)

    assert shared == [True, True, True]


@pytest.mark.parametrize("convert", [np.float16, np.float64, np.asfortranarray])
def test_other_dtypes_and_layouts_are_converted(rng, convert):
    queries = _unit(rng, 5, 8)
    database = _unit(rng, 100, 8)

    indices = nearest(queries, convert(database), 3, 33)[1]

    np.testing.assert_array_equal(indices, nearest(queries, np.float32(convert(database)), 3, 33)[1])


def test_no_queries_find_nothing(rng):
    distances, indices = nearest(np.empty((0, 8), np.float32), _unit(rng, 10, 8), 3)

    assert distances.shape == indices.shape == (0, 3)


def test_large_finite_values_that_overflow_a_sum_are_accepted():
    database = np.float32([[3e18, 3e18], [0, 0]])

    assert nearest(np.zeros((1, 2), np.float32), database, 2)[1].tolist() == [[1, 0]]


@pytest.mark.parametrize("k", [0, 11])
def test_k_outside_the_database_is_refused(rng, k):
    with pytest.raises(ValueError, match=f"`k` must be between 1 and the number of database rows, 10.*k={k}"):
        nearest(_unit(rng, 2, 4), _unit(rng, 10, 4), k)


def test_different_widths_are_refused(rng):
    with pytest.raises(ValueError, match=r"same D.*queries.shape=\(2, 4\), database.shape=\(10, 5\)"):
        nearest(_unit(rng, 2, 4), _unit(rng, 10, 5), 3)


def test_a_flat_query_is_refused(rng):
    with pytest.raises(ValueError, match=r"queries.shape=\(4,\)"):
        nearest(np.zeros(4, np.float32), _unit(rng, 10, 4), 3)


def test_block_rows_below_one_are_refused(rng):
    with pytest.raises(ValueError, match="`block_rows` must be at least 1.*block_rows=0"):
        nearest(_unit(rng, 2, 4), _unit(rng, 10, 4), 3, block_rows=0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_database_row_is_named_by_its_place_in_the_whole_database(rng, value):
    database = _unit(rng, 10, 4)
    database[7, 2] = value

    with pytest.raises(ValueError, match="`database` must hold finite numbers.*1 broken rows from row 7 on"):
        nearest(_unit(rng, 2, 4), database, 3, block_rows=4)


def test_a_broken_query_is_refused(rng):
    queries = _unit(rng, 2, 4)
    queries[1, 0] = np.nan

    with pytest.raises(ValueError, match="`queries` must hold finite numbers.*row 1"):
        nearest(queries, _unit(rng, 10, 4), 3)


def test_a_float64_too_large_for_float32_is_refused():
    with pytest.raises(ValueError, match="`database` must hold finite numbers"):
        nearest(np.zeros((1, 2), np.float32), np.array([[1e300, 0], [0, 0]]), 1)


def test_distances_beyond_float32_are_refused():
    with pytest.raises(ValueError, match=r"within float32.*1e\+30"):
        nearest(np.zeros((1, 2), np.float32), np.float32([[1e30, 0], [1e30, 0]]), 2)
