from pathlib import Path

import numpy as np
import pytest

from keras_sare.retrieval import nearest
from keras_sare.retrieval.expansion.query_expansion import alpha_expand, augment_database, average_expand


def unit(rows, features=8, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, features)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive(queries, database, n, alpha, skip=None):
    """Query after query in float64; `skip` is the database row that may not join."""
    rows = []
    for i, query in enumerate(queries.astype(np.float64)):
        similarities = database @ query
        order = [j for j in np.argsort(-similarities, kind="stable") if skip is None or j != skip[i]]
        total = query + sum(max(similarities[j], 0) ** alpha * database[j] for j in order[:n])
        rows.append(total / np.linalg.norm(total))
    return np.stack(rows)


def test_returns_float32_queries_of_norm_1_that_can_be_searched_with():
    database = unit(30)
    for expanded in (average_expand(unit(4, seed=1), database), alpha_expand(unit(4, seed=1), database, n=30)):
        assert (expanded.shape, expanded.dtype) == ((4, 8), np.float32)
        np.testing.assert_allclose(np.linalg.norm(expanded, axis=1), 1, atol=1e-6)
        assert nearest(expanded, database, 3)[1].shape == (4, 3)


def test_average_is_the_normalised_mean_of_the_query_and_its_nearest():
    expanded = average_expand(np.float32([[1, 0]]), np.float32([[0.6, 0.8], [0, 1], [0.8, 0.6]]), n=2)

    np.testing.assert_allclose(expanded, np.float32([[2.4, 1.4]]) / np.hypot(2.4, 1.4), atol=1e-6)


def test_alpha_weighs_neighbours_by_a_power_of_their_similarity():
    expanded = alpha_expand(np.float32([[1, 0]]), np.float32([[0.6, 0.8], [-1, 0]]), n=2, alpha=3.0)

    weighted = np.float32([[1 + 0.6**3 * 0.6, 0.6**3 * 0.8]])
    np.testing.assert_allclose(expanded, weighted / np.linalg.norm(weighted), atol=1e-6)


@pytest.mark.parametrize(("n", "alpha"), [(1, 0.0), (7, 0.5), (7, 3.0), (40, 3.0)])
@pytest.mark.parametrize("block_rows", [1, 16, 65536])
def test_equals_a_loop_over_the_queries_in_blocks_of_any_size(n, alpha, block_rows):
    queries = unit(9, seed=1)
    database = unit(40)
    expected = naive(queries, database, n, alpha)
    np.testing.assert_allclose(alpha_expand(queries, database, n, alpha, block_rows), expected, atol=2e-6)


@pytest.mark.parametrize(("n", "alpha"), [(1, 0), (5, 0), (5, 3), (20, 3)])
def test_equals_the_public_code(n, alpha):
    with np.load(Path(__file__).parents[2] / "data" / "reranking_oracle.npz") as oracle:
        expanded = alpha_expand(oracle["queries"], oracle["database"], n, float(alpha))
        np.testing.assert_allclose(expanded, oracle[f"expanded_{n}_{alpha}"], atol=3e-7)


@pytest.mark.parametrize("block_rows", [7, 65536])
def test_augmented_database_equals_expanding_every_image_by_the_others(block_rows, tmp_path):
    database = unit(25)
    expected = naive(database, database, 3, 2.0, skip=np.arange(25))
    np.save(tmp_path / "database.npy", database)
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, database.shape)

    assert augment_database(mapped, 3, 2.0, out, block_rows) is out

    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=2e-6)
    np.testing.assert_allclose(augment_database(database, 3, 2.0, block_rows=block_rows), expected, atol=2e-6)


def test_half_precision_databases_are_summed_in_float32():
    queries = unit(5, seed=1)
    database = unit(40).astype(np.float16)
    np.testing.assert_allclose(
        average_expand(queries, database, 5), naive(queries, database.astype(np.float64), 5, 0), atol=2e-6
    )


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            lambda: average_expand(unit(2), unit(5), 6),
            "`n` must be between 1 and the number of database rows, 5; .* n=6",
        ),
        (lambda: alpha_expand(unit(2), unit(5), 0), "Received: n=0"),
        (lambda: alpha_expand(unit(2), unit(5), 2, -1.0), "`alpha` must be at least 0, and finite.*alpha=-1.0"),
        (lambda: alpha_expand(unit(2), unit(5), 2, float("nan")), "Received: alpha=nan"),
        (lambda: average_expand(unit(2), unit(5, 9), 2), "with the same D"),
        (lambda: average_expand(unit(2), unit(5), 2, 0), "`block_rows` must be at least 1"),
        (lambda: augment_database(unit(5), 5), "number of other database rows, 4; .* n=5"),
        (lambda: augment_database(unit(5), 2, out=unit(4)), r"`out` must have the shape.*\(4, 8\)"),
        (lambda: augment_database(unit(5), 2, block_rows=0), "`block_rows` must be at least 1. Received: block_rows=0"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()


def test_augmentation_in_place_is_refused():
    database = unit(5)
    with pytest.raises(ValueError, match="`out` must have the shape of `database` and other memory"):
        augment_database(database, 2, out=database)
