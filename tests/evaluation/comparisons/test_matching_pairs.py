import numpy as np
import pytest

from keras_sare.evaluation import MatchingPairs
from keras_sare.whitening import fit_learned_whitening

WIDTH = 128


def photos(seed, buildings, views):
    """Descriptors whose strongest directions are the light, not the building, and the building of each."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(9).normal(size=(WIDTH, WIDTH)))[0]
    of_light = np.where(np.arange(WIDTH) < 12, 2.0, 0.15)
    of_buildings = 1 / np.sqrt(1 + np.arange(WIDTH)[::-1] / 8)
    shown = np.repeat(rng.normal(size=(buildings, WIDTH)) * of_buildings, views, axis=0)
    descriptors = (shown + rng.normal(size=shown.shape) * of_light) @ axes
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return descriptors.astype(np.float32), np.repeat(np.arange(buildings), views)


def pairs_of(groups):
    queries, positives = np.nonzero((groups[:, None] == groups) & ~np.eye(len(groups), dtype=bool))
    return MatchingPairs(np.array([f"{i}.jpg" for i in range(len(groups))]), queries, positives)


def mean_average_precision(descriptors, groups):
    """Of each photo among the others."""
    similar = descriptors @ descriptors.T
    np.fill_diagonal(similar, -np.inf)
    right = groups[np.argsort(-similar, axis=1)[:, :-1]] == groups[:, None]
    precisions = np.cumsum(right, axis=1) / np.arange(1, right.shape[1] + 1)
    return float(((precisions * right).sum(axis=1) / right.sum(axis=1)).mean())


@pytest.mark.parametrize("edges", [10, 40, 200, 2000])
def test_differences_of_random_pairs_span_as_many_directions_as_a_forest_has_edges(edges):
    rng = np.random.default_rng(edges)
    queries = rng.integers(60, size=edges)
    positives = (queries + rng.integers(1, 60, size=edges)) % 60
    descriptors = rng.normal(size=(60, 80))
    pairs = MatchingPairs(np.array([str(i) for i in range(60)]), queries, positives)
    assert pairs.directions == np.linalg.matrix_rank(descriptors[queries] - descriptors[positives])


def test_photos_in_no_pair_add_no_direction():
    paths = np.array([str(i) for i in range(9)])
    assert MatchingPairs(paths, np.array([0, 1, 5, 5]), np.array([1, 2, 6, 6])).directions == 3


@pytest.mark.parametrize("seed", range(2))
def test_half_the_span_of_few_pairs_whitens_unseen_photos_where_all_of_it_would_not(seed):
    descriptors, groups = photos(seed, 26, 4)
    pairs = pairs_of(groups)
    unseen, buildings = photos(seed + 100, 50, 4)

    few = pairs.whitening(descriptors, 512)

    assert pairs.directions == 26 * 3
    assert few.projection.shape == (WIDTH, 39)
    whole = fit_learned_whitening(descriptors, pairs.queries, pairs.positives, principal=78)
    # There is a direction in which these pairs differ hardly at all by chance.
    assert whole.eigenvalues[0] > 20 * few.eigenvalues[0]
    plain, by_all, by_half = (
        mean_average_precision(one, buildings) for one in (unseen, whole.apply(unseen), few.apply(unseen))
    )
    assert plain < 0.5
    assert by_half > 0.98 > by_all + 0.1
    with pytest.raises(ValueError, match="must differ in all 103 directions.* the 312 pairs differ in 78"):
        fit_learned_whitening(descriptors, pairs.queries, pairs.positives)


def test_enough_pairs_limit_nothing():
    descriptors, groups = photos(0, 90, 4)
    pairs = pairs_of(groups)
    fitted = pairs.whitening(descriptors, WIDTH)
    plain = fit_learned_whitening(descriptors, pairs.queries, pairs.positives)
    assert pairs.directions == 270 >= 2 * WIDTH
    np.testing.assert_array_equal(fitted.projection, plain.projection)


def test_dimensions_are_the_first_of_those_that_would_be_learned():
    descriptors, groups = photos(0, 26, 4)
    pairs = pairs_of(groups)
    all_of_them = pairs.whitening(descriptors, 512)
    some = pairs.whitening(descriptors, 16)
    np.testing.assert_array_equal(some.projection, all_of_them.projection[:, :16])


def test_a_hundred_photos_of_a_few_buildings_and_channels_that_are_never_active_give_a_whitening():
    rng = np.random.default_rng(0)
    groups = np.sort(np.concatenate([np.arange(14), rng.integers(14, size=87)]))
    buildings = np.maximum(rng.normal(size=(14, 512)), 0)
    descriptors = np.maximum(buildings[groups] + 0.3 * rng.normal(size=(101, 512)), 0).astype(np.float32)
    descriptors[:, rng.permutation(512)[:490]] = 0  # 22 remain, less than half of what the pairs tell of
    every = pairs_of(groups)
    chosen = rng.permutation(len(every.queries))[:306]
    pairs = MatchingPairs(every.paths, every.queries[chosen], every.positives[chosen])
    fitted = pairs.whitening(descriptors, 512)
    assert pairs.directions >= 80
    assert fitted.projection.shape == (512, 22)
    assert np.isfinite(fitted.projection).all()


def test_one_pair_gives_one_direction():
    descriptors, _ = photos(0, 5, 2)
    pairs = MatchingPairs(np.array(list("abcdefghij")), np.array([0]), np.array([1]))
    assert pairs.directions == 1
    assert pairs.whitening(descriptors, 512).projection.shape == (WIDTH, 1)
