from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import linalg

from keras_sare.retrieval.expansion.diffusion import DiffusionSettings, diffuse, linear_system, solved
from keras_sare.retrieval.expansion.knn_graph import affinity_graph

CONVERGED = {"iterations": 300, "tolerance": 1e-9}


def clustered(rows, features=12, seed=0, spread=0.6):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((8, features))
    x = centres[random.integers(8, size=rows)] + spread * random.standard_normal((rows, features))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def closed_form(queries, database, k, query_k, alpha):
    """f of every query by a dense solution in float64, [Q, N]."""
    weights = affinity_graph(database, k).toarray().astype(np.float64)
    degrees = weights.sum(axis=1)
    scale = np.divide(1, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    system = np.eye(len(database)) - alpha * scale[:, None] * weights * scale
    right = np.maximum(queries.astype(np.float64) @ database.T, 0) ** 3
    for row in right:
        row[np.argsort(-row)[query_k:]] = 0
    return np.linalg.solve(system, right.T).T


def scattered(scores, indices, size):
    full = np.zeros((len(scores), size))
    np.put_along_axis(full, indices, scores, axis=1)
    return full


@pytest.fixture(scope="module")
def queries():
    return clustered(35, seed=1)  # More than two batches.


@pytest.fixture(scope="module")
def database():
    return clustered(150)


def test_returns_the_best_scores_and_their_images(queries, database):
    scores, indices = diffuse(queries, database, n=7)

    assert (scores.shape, scores.dtype) == ((35, 7), np.float32)
    assert (indices.shape, indices.dtype) == ((35, 7), np.int64)
    assert (np.diff(scores, axis=1) <= 0).all()
    whole = diffuse(queries, database, n=150)
    np.testing.assert_array_equal(indices, whole[1][:, :7])
    np.testing.assert_array_equal(np.sort(whole[1], axis=1), np.tile(np.arange(150), (35, 1)))


@pytest.mark.parametrize(("k", "query_k", "alpha"), [(50, 10, 0.99), (8, 3, 0.99), (8, 3, 0.5)])
def test_converges_to_the_closed_form(queries, database, k, query_k, alpha):
    settings = DiffusionSettings(k=k, query_k=query_k, alpha=alpha, **CONVERGED)
    expected = closed_form(queries, database, k, query_k, alpha)

    found = scattered(*diffuse(queries, database, 150, settings), 150)

    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


def test_iterations_are_those_of_conjugate_gradients(database):
    system = linear_system(affinity_graph(database, 10), 0.99)
    right = np.random.default_rng(0).random((150, 3)).astype(np.float32)
    for iterations in (1, 5, 20):
        found = solved(system, right, DiffusionSettings(iterations=iterations))
        for column in range(3):
            expected = linalg.cg(system.astype(np.float64), right[:, column], rtol=0, maxiter=iterations)[0]
            np.testing.assert_allclose(found[:, column], expected, rtol=1e-4)


def test_ranking_equals_that_of_the_public_code():
    with np.load(Path(__file__).parents[2] / "data" / "reranking_oracle.npz") as oracle:
        settings = DiffusionSettings(k=15, query_k=5, **CONVERGED)
        scores, indices = diffuse(oracle["queries"], oracle["database"], 120, settings)
        expected = oracle["diffusion"]
    reached = scores > 0
    assert reached.sum() > 200
    # Where nothing flows to, that code keeps the images' order; ours goes by similarity.
    np.testing.assert_array_equal(indices[reached], expected[reached])


def test_truncation_to_the_whole_database_changes_nothing(queries, database):
    whole = diffuse(queries, database, 20, DiffusionSettings(k=10))
    truncated = diffuse(queries, database, 20, DiffusionSettings(k=10, truncate=150))
    np.testing.assert_array_equal(truncated[1], whole[1])
    np.testing.assert_allclose(truncated[0], whole[0], rtol=1e-4)


def test_truncation_diffuses_among_the_images_nearest_to_the_query(queries, database):
    graph = affinity_graph(database, 10)
    settings = DiffusionSettings(k=10, query_k=4, truncate=40, **CONVERGED)
    scores, indices = diffuse(queries, database, 60, settings, graph)
    for query, found, ranking in zip(queries, scores, indices, strict=True):
        similarities = database.astype(np.float64) @ query
        near = np.argsort(-similarities)
        part = np.sort(near[:40])
        right = np.where(np.isin(part, near[:4]), np.maximum(similarities[part], 0) ** 3, 0)
        expected = np.zeros(150)
        expected[part] = np.linalg.solve(linear_system(graph[part][:, part], 0.99).toarray().astype(np.float64), right)
        np.testing.assert_allclose(found, expected[ranking], atol=1e-5 * expected.max())
        # What the query's sub-graph does not hold follows by similarity.
        rest = [image for image in near if expected[image] <= 0]
        reached = np.count_nonzero(found)
        np.testing.assert_array_equal(ranking[reached:], rest[: 60 - reached])


def test_an_image_at_the_end_of_a_chain_comes_before_a_nearer_one_that_no_chain_leads_to():
    def on_circle(*degrees):
        return np.float32([[np.cos(np.deg2rad(x)), np.sin(np.deg2rad(x))] for x in degrees])

    chain = [5, 15, 25, 35, 45]
    lonely = [-30]
    database = np.concatenate([on_circle(*chain), on_circle(*lonely)])
    indices = diffuse(on_circle(0), database, 6, DiffusionSettings(k=3, query_k=1))[1]
    np.testing.assert_array_equal(np.sort(indices[0, :5]), np.arange(5))
    assert indices[0, 5] == 5


def test_a_query_unlike_everything_gets_the_order_of_similarity():
    database = np.float32([[0, 1], [-0.6, 0.8], [-1, 0]])
    scores, indices = diffuse(np.float32([[0, -1]]), database, 3, DiffusionSettings(k=2, query_k=2))
    np.testing.assert_array_equal(indices, [[2, 1, 0]])
    np.testing.assert_array_equal(scores, 0)


def test_memory_mapped_database_and_a_kept_graph_give_the_same(queries, database, tmp_path):
    np.save(tmp_path / "database.npy", database)
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    kept = diffuse(queries, mapped, 9, graph=affinity_graph(mapped), block_rows=64)
    for ours, expected in zip(kept, diffuse(queries, database, 9), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda q, d: diffuse(q, d, 151), "`n` must be between 1 and the number of database rows, 150.*n=151"),
        (lambda q, d: diffuse(q, d[:40], 5), "`k` and `query_k` must be at most .* 40; .*k=50, query_k=10"),
        (lambda q, d: diffuse(q, 3 * d, 5), "`database` must hold vectors of norm 1"),
        (lambda q, d: diffuse(0.5 * q, d, 5), "`queries` must hold vectors of norm 1.*a row of norm 0.5"),
        (lambda q, d: diffuse(q, d, 5, graph=affinity_graph(d[:100])), r"`graph` must be of this.*\(100, 100\)"),
        (lambda q, d: diffuse(q[:, :5], d, 5), "with the same D"),
        (lambda q, d: DiffusionSettings(k=0), "`k` must be at least 1. Received: k=0"),
        (lambda q, d: DiffusionSettings(iterations=0), "`iterations` must be at least 1"),
        (lambda q, d: DiffusionSettings(alpha=1.0), "`alpha` must be between 0 and 1.*alpha=1.0"),
        (lambda q, d: DiffusionSettings(gamma=0.0), "`gamma` must be above 0"),
        (lambda q, d: DiffusionSettings(tolerance=-1.0), "`tolerance` must be at least 0"),
        (lambda q, d: DiffusionSettings(truncate=5), "`truncate` must be at least `query_k`, or None.*truncate=5"),
    ],
)
def test_bad_arguments_are_named(action, message, queries, database):
    with pytest.raises(ValueError, match=message):
        action(queries, database)
