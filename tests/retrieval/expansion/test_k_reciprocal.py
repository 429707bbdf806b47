from pathlib import Path

import numpy as np
import pytest

from keras_sare.retrieval import nearest
from keras_sare.retrieval.expansion.k_reciprocal import k_reciprocal


def clustered(rows, features=12, seed=0, spread=0.6):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((8, features))
    x = centres[random.integers(8, size=rows)] + spread * random.standard_normal((rows, features))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def naive(queries, database, k1, k2, weight):
    """The paper with sets and dense vectors, image after image: distances [Q, N]."""
    x = np.concatenate([queries, database]).astype(np.float64)
    distances = np.square(x[:, None] - x[None]).sum(-1)
    distances /= distances.max(axis=1, keepdims=True)
    order = np.argsort(distances, axis=1, kind="stable")

    def reciprocal(i, k):
        return {j for j in order[i, : k + 1] if i in order[j, : k + 1]}

    codes = np.zeros_like(distances)
    for i in range(len(x)):
        wide = set(own := reciprocal(i, k1))
        for j in own:
            theirs = reciprocal(j, round(k1 / 2))
            if 3 * len(theirs & own) > 2 * len(theirs):
                wide |= theirs
        members = sorted(wide)
        codes[i, members] = np.exp(-distances[i, members])
    codes /= codes.sum(axis=1, keepdims=True)
    codes = np.stack([codes[order[i, :k2]].mean(axis=0) for i in range(len(x))]) if k2 > 1 else codes
    shared = np.minimum(codes[: len(queries), None], codes[None, len(queries) :]).sum(-1)
    original = distances[: len(queries), len(queries) :]
    return weight * original + (1 - weight) * (1 - shared / (2 - shared))


@pytest.fixture(scope="module")
def queries():
    return clustered(7, seed=1)


@pytest.fixture(scope="module")
def database():
    return clustered(90)


def test_returns_the_smallest_distances_and_their_images(queries, database):
    distances, indices = k_reciprocal(queries, database, n=11)

    assert (distances.shape, distances.dtype) == ((7, 11), np.float32)
    assert (indices.shape, indices.dtype) == ((7, 11), np.int64)
    assert (np.diff(distances, axis=1) >= 0).all()
    whole = k_reciprocal(queries, database, n=90)
    np.testing.assert_array_equal(indices, whole[1][:, :11])
    np.testing.assert_array_equal(np.sort(whole[1], axis=1), np.tile(np.arange(90), (7, 1)))


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (9, 1, 0.5), (5, 6, 0.1), (40, 2, 0.3)])
def test_equals_sets_and_dense_vectors(queries, database, k1, k2, weight):
    expected = naive(queries, database, k1, k2, weight)
    for n, block_rows in ((90, 65536), (25, 48)):
        distances, indices = k_reciprocal(queries, database, n, k1, k2, weight, block_rows)
        np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :n], atol=1e-6)
        np.testing.assert_allclose(distances, np.take_along_axis(expected, indices, axis=1), atol=1e-6)


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (10, 1, 0.3), (5, 3, 0.6), (7, 4, 0.1)])
def test_equals_the_public_code(k1, k2, weight):
    with np.load(Path(__file__).parents[2] / "data" / "reranking_oracle.npz") as oracle:
        distances, indices = k_reciprocal(oracle["queries"], oracle["database"], 120, k1, k2, weight)
        expected = oracle[f"k_reciprocal_{k1}_{k2}_{weight}"]
    np.testing.assert_array_equal(indices, np.argsort(expected, axis=1, kind="stable"))
    np.testing.assert_allclose(distances, np.sort(expected, axis=1), atol=1e-6)


def test_the_original_distance_alone_keeps_the_ranking(queries, database):
    indices = k_reciprocal(queries, database, 90, original_weight=1.0)[1]
    np.testing.assert_array_equal(indices, nearest(queries, database, 90)[1])


def test_without_the_original_distance_images_that_share_nothing_follow_by_it(queries, database):
    distances, indices = k_reciprocal(queries, database, 90, k1=4, k2=1, original_weight=0.0)
    near = nearest(queries, database, 90)[1]
    for row, ranking, order in zip(distances, indices, near, strict=True):
        nothing = ranking[row == 1]
        assert len(nothing) > 50
        np.testing.assert_array_equal(nothing, order[np.isin(order, nothing)])


def test_more_copies_of_an_image_than_neighbours_do_no_harm(queries):
    database = np.repeat(clustered(4), 12, axis=0)
    distances, indices = k_reciprocal(queries, database, 48, k1=3, k2=2)
    assert np.isfinite(distances).all()
    np.testing.assert_array_equal(np.sort(indices, axis=1), np.tile(np.arange(48), (7, 1)))


def test_a_database_of_copies_of_the_query_is_at_distance_0():
    image = clustered(1)
    distances = k_reciprocal(image, np.repeat(image, 5, axis=0), 5, k1=5, k2=1)[0]
    np.testing.assert_allclose(distances, 0, atol=1e-6)


def test_memory_mapped_half_precision_database_is_taken(queries, database, tmp_path):
    np.save(tmp_path / "database.npy", database.astype(np.float16))
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    distances = k_reciprocal(queries, mapped, 9, block_rows=32)[0]
    expected = k_reciprocal(queries, mapped.astype(np.float32), 9)[0]
    np.testing.assert_allclose(distances, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 91}, "`n` must be between 1 and the number of database rows, 90.*n=91"),
        ({"k1": 97}, "`k1` must be between 1 and the number of other images, 96.*k1=97"),
        ({"k1": 3, "k2": 5}, r"`k2` must be between 1 and `k1` \+ 1, 4. Received: k2=5"),
        ({"original_weight": 1.5}, "`original_weight` must be between 0 and 1. Received: original_weight=1.5"),
        ({"queries": clustered(0)}, "`queries` must hold at least one descriptor"),
        ({"queries": 2 * clustered(3)}, "`queries` must hold vectors of norm 1.*a row of norm 2"),
        ({"database": 0.1 * clustered(90)}, "`database` must hold vectors of norm 1"),
        ({"database": clustered(90, features=5)}, "with the same D"),
        ({"block_rows": 0}, "`block_rows` must be at least 1"),
        ({"queries": clustered(1)[0]}, r"must be \[Q, D\] and \[N, D\].*queries.shape=\(12,\)"),
    ],
)
def test_bad_arguments_are_named(queries, database, arguments, message):
    with pytest.raises(ValueError, match=message):
        k_reciprocal(**{"queries": queries, "database": database, "n": 5, **arguments})
