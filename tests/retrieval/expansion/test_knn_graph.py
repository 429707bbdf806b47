from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from keras_sare.retrieval.expansion.knn_graph import affinity_graph


def unit(rows, features=6, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, features)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive_graph(database, k, gamma):
    """Pair after pair in float64."""
    similarities = database.astype(np.float64) @ database.T.astype(np.float64)
    near = [set(np.argsort(-row, kind="stable")[:k]) for row in similarities]
    graph = np.zeros_like(similarities)
    for i, j in np.ndindex(graph.shape):
        if i != j and j in near[i] and i in near[j]:
            graph[i, j] = max(similarities[i, j], 0) ** gamma
    return graph


@pytest.mark.parametrize("block_rows", [9, 65536])
@pytest.mark.parametrize(("k", "gamma"), [(2, 3.0), (8, 1.0), (50, 3.0)])
def test_equals_a_loop_over_all_pairs(k, gamma, block_rows):
    database = unit(50)
    graph = affinity_graph(database, k, gamma, block_rows)
    np.testing.assert_allclose(graph.toarray(), naive_graph(database, k, gamma), atol=2e-6)


def test_is_symmetric_float32_without_diagonal_or_explicit_zeros():
    graph = affinity_graph(unit(40), k=7)
    assert sparse.isspmatrix_csr(graph)
    assert graph.dtype == np.float32
    assert (graph != graph.T).nnz == 0
    assert graph.diagonal().max() == 0
    assert graph.nnz > 0
    assert graph.data.min() > 0


def test_literal_affinities():
    # The first two have each other, the third has the second, which does not have it.
    graph = affinity_graph(np.float32([[1, 0], [0.8, 0.6], [0, 1]]), k=2)
    np.testing.assert_allclose(graph.toarray(), [[0, 0.512, 0], [0.512, 0, 0], [0, 0, 0]], atol=1e-6)


def test_copies_of_an_image_are_no_neighbours_of_themselves():
    graph = affinity_graph(np.repeat(unit(3), 5, axis=0), k=4)
    assert graph.diagonal().max() == 0


def test_equals_the_public_code():
    with np.load(Path(__file__).parents[2] / "data" / "reranking_oracle.npz") as oracle:
        expected = oracle["graph"]
        graph = affinity_graph(oracle["database"], k=15)
    # Theirs keeps an image's affinity to itself until it is normalised.
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(graph.toarray(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: affinity_graph(unit(5), 6), "`k` must be between 1 and the number of database rows, 5"),
        (lambda: affinity_graph(unit(5), 2, 0.0), "`gamma` must be above 0, and finite.*gamma=0.0"),
        (lambda: affinity_graph(2 * unit(5), 2), "`database` must hold vectors of norm 1.*a row of norm 2"),
        (lambda: affinity_graph(np.full((3, 2), np.nan, np.float32), 2), "norm nan"),
        (lambda: affinity_graph(unit(5), 2, block_rows=0), "`block_rows` must be at least 1"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()
