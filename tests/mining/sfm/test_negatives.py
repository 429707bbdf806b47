import importlib.util
from pathlib import Path

import numpy as np
import pytest

from keras_sare.mining.sfm import negatives as sfm_negatives
from keras_sare.mining.sfm.negatives import hardest_negatives, negative_pool

DATA = Path(__file__).parents[2] / "data"


def whole_numbers(seed, rows):
    """Descriptors of small whole numbers: distances are exact, and many are equal."""
    return np.random.default_rng(seed).integers(-1, 2, (rows, 4)).astype("float32")


def town():
    """12 queries, 80 images of 9 clusters of unlike sizes; every fifth image is never a negative."""
    random = np.random.default_rng(2)
    clusters = np.minimum(random.integers(0, 9, 80), random.integers(0, 9, 80))
    clusters[::5] = -1
    return whole_numbers(0, 12), random.integers(0, 9, 12), whole_numbers(1, 80), clusters


def naive(queries, own, database, clusters, count, one_per_cluster):
    out = []
    for query, cluster in zip(queries, own, strict=True):
        order = sorted(range(len(database)), key=lambda row: (((query - database[row]) ** 2).sum(), row))
        used = {cluster, -1}
        chosen = []
        for row in order:
            if clusters[row] not in used:
                chosen.append(row)
                used |= {clusters[row]} if one_per_cluster else set()
        out.append(chosen[:count])
    return out


@pytest.mark.parametrize("one_per_cluster", [False, True])
@pytest.mark.parametrize("memory_limit", [1, 2000, 5e8])
@pytest.mark.parametrize("cached", [1, 1 << 20])
def test_search_equals_a_naive_loop_in_blocks_of_any_size(one_per_cluster, memory_limit, cached, monkeypatch):
    monkeypatch.setattr(sfm_negatives, "_CACHED", cached)
    queries, own, database, clusters = town()
    distances, rows = hardest_negatives(queries, own, database, clusters, 5, one_per_cluster, memory_limit)
    assert rows.tolist() == naive(*town(), 5, one_per_cluster)
    assert (rows.dtype, distances.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(distances, ((queries[:, None] - database[rows]) ** 2).sum(-1))


def test_n1_takes_several_of_a_cluster_and_n2_one():
    line = np.array([[0.0], [1], [2], [3], [4]])
    arguments = (np.zeros((1, 1)), np.array([0]), line, np.array([0, 1, 1, 2, 2]), 2)
    assert hardest_negatives(*arguments, one_per_cluster=False)[1].tolist() == [[1, 2]]
    assert hardest_negatives(*arguments, one_per_cluster=True)[1].tolist() == [[1, 3]]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_memory_map_gives_the_same_as_an_array(dtype, tmp_path):
    queries, own, database, clusters = town()
    np.save(tmp_path / "database.npy", database.astype(dtype))
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    found = hardest_negatives(queries, own, mapped, clusters, 5, True, 2000)[1]
    assert found.tolist() == naive(queries, own, database, clusters, 5, True)


def test_no_queries_give_no_negatives():
    _, _, database, clusters = town()
    distances, rows = hardest_negatives(np.zeros((0, 4)), np.zeros(0, int), database, clusters, 5, True)
    assert distances.shape == rows.shape == (0, 5)


@pytest.mark.parametrize("one_per_cluster", [False, True])
def test_too_few_rows_of_other_clusters_are_refused(one_per_cluster):
    with pytest.raises(ValueError, match="`clusters` must leave each query 3 negatives.*Received: count=3, 4 rows"):
        hardest_negatives(
            whole_numbers(0, 2), np.array([0, 1]), whole_numbers(1, 4), np.array([0, 0, 1, 1]), 3, one_per_cluster
        )


@pytest.mark.parametrize("name", ["queries", "database"])
def test_descriptors_that_are_not_finite_are_refused(name):
    queries, own, database, clusters = town()
    {"queries": queries, "database": database}[name][3] = np.nan
    with pytest.raises(ValueError, match=f"`{name}` must hold finite numbers only.*Received: 1 broken rows"):
        hardest_negatives(queries, own, database, clusters, 5, True)


@pytest.mark.parametrize("one_per_cluster", [False, True])
@pytest.mark.parametrize("size", [1, 5, 30, 1000])
def test_pool_is_the_least_part_of_a_random_order_that_serves_every_cluster(one_per_cluster, size):
    clusters = np.minimum(*np.random.default_rng(0).integers(0, 9, (2, 80)))
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(80)
        pool = negative_pool(clusters, size, 3, one_per_cluster, np.random.default_rng(seed))

        def serves(drawn):
            others = [clusters[drawn][clusters[drawn] != own] for own in range(9)]
            return min(len(set(rest.tolist())) if one_per_cluster else len(rest) for rest in others) >= 3

        expected = next(n for n in range(80) if (n >= size or n == 79) and serves(order[:n]) or n == 79)
        assert len(pool) == (80 if size > 80 else expected)
        np.testing.assert_array_equal(pool, np.sort(order[: len(pool)]))


@pytest.fixture(scope="module")
def oracle():
    """The script that ran the original code, and in `mined` what it wrote."""
    spec = importlib.util.spec_from_file_location("make_sfm_tuples_oracle", DATA / "make_sfm_tuples_oracle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.mined = dict(np.load(DATA / "sfm_tuples_oracle.npz"))
    return module


@pytest.mark.parametrize("case", ["whole", "part"])
def test_negatives_equal_cirtorch(oracle, case):
    """Of the same pool the same negatives in the same order."""
    queries, pool, expected = (oracle.mined[f"{case}_{name}"] for name in ("queries", "pool", "negatives"))
    clusters = np.full(oracle.IMAGES, -1)
    clusters[pool] = oracle.clusters()[pool]
    descriptors = oracle.descriptors()
    distances, rows = hardest_negatives(
        descriptors[queries], oracle.clusters()[queries], descriptors, clusters, oracle.NEGATIVES, True
    )
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(np.sqrt(distances).mean(), oracle.mined[f"{case}_average"], atol=2e-6)
