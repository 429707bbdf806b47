"""What is found where images are excluded or belong together equals a full sort with those left out."""

import numpy as np
import pytest

from keras_sare.evaluation.measures import ranking
from keras_sare.evaluation.measures.ranking import rank


def unit(rng, rows, features=6):
    vectors = rng.standard_normal((rows, features)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def naive(queries, database, depth, exclude, groups):
    rows = []
    for query, excluded in zip(queries, exclude, strict=True):
        seen = set()
        row = []
        for index in np.argsort(np.square(database - query).sum(1), kind="stable").tolist():
            if index not in excluded and groups[index] not in seen:
                seen.add(groups[index])
                row.append(index)
        rows.append((row + [-1] * depth)[:depth])
    return rows


@pytest.fixture
def sides():
    rng = np.random.default_rng(5)
    return unit(rng, 17), unit(rng, 200)


@pytest.mark.parametrize("held", [1 << 25, 40])
@pytest.mark.parametrize("longest", [0, 5, 150, 200])
@pytest.mark.parametrize("size", [1, 12, 70])
def test_ranking_equals_a_full_sort_of_what_is_left(sides, longest, size, held, monkeypatch):
    monkeypatch.setattr(ranking, "HELD", held)
    monkeypatch.setattr(ranking, "FIRST_FACTOR", 2)
    rng = np.random.default_rng(longest)
    exclude = [rng.choice(200, rng.integers(0, longest + 1), replace=False) for _ in sides[0]]
    groups = np.arange(200) // size
    found = rank(*sides, 7, exclude, groups)
    np.testing.assert_array_equal(found.indices, naive(*sides, 7, exclude, groups))
    away = np.square(sides[0][:, None] - sides[1][found.indices]).sum(-1)
    np.testing.assert_allclose(found.distances, np.where(found.indices < 0, np.inf, away), atol=1e-5)


def test_images_of_one_group_need_not_lie_together(sides):
    groups = np.arange(200) % 40
    nothing = [[]] * len(sides[0])
    np.testing.assert_array_equal(rank(*sides, 5, groups=groups).indices, naive(*sides, 5, nothing, groups))


def test_score_is_the_cosine_of_the_first_match(sides):
    queries, database = sides
    np.testing.assert_allclose(rank(*sides, 3).scores, (queries @ database.T).max(axis=1), atol=1e-6)
    everything = [np.arange(200)] * len(queries)
    assert (rank(*sides, 3, everything).scores == -np.inf).all()
