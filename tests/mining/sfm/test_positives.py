import itertools

import numpy as np
import pytest

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.mining.sfm import geometry as sfm_geometry
from keras_sare.mining.sfm.geometry import Observations, nearest_centres
from keras_sare.mining.sfm.positives import PositiveRule, possible_positives


def reconstructed(models, centres, observed, **fields):
    """A dataset of images that observe points at scales: `observed` has a dict {point: scale} for each image."""
    observed = [dict(sorted(one.items())) for one in observed]
    given = {
        "name": "town",
        "paths": np.array([f"{i}.jpg" for i in range(len(models))], np.dtypes.StringDType()),
        "models": np.array(models, np.int64),
        "clusters": np.array(models, np.int64),
        "centres": centres if centres is None else np.array(centres, np.float64),
        "point_starts": np.cumsum([0, *map(len, observed)]),
        "points": np.array([point for one in observed for point in one], np.int64),
        "scales": np.array([scale for one in observed for scale in one.values()], np.float32),
        "pairs": None,
    }
    return SfMDataset(**{**given, **fields})


def in_a_row(observed, models=None, **fields):
    """Images whose cameras stand at x = 0, 1, 3, 6, 10, ..: the nearest ones of the first are the next in order."""
    centres = [(i * (i + 1) / 2, 0, 0) for i in range(len(observed))]
    return reconstructed(models or [0] * len(observed), **{"centres": centres, "observed": observed, **fields})


def random_town(seed, images=60, models=4, points=30):
    """Images of several models in mixed order; some observe nothing."""
    random = np.random.default_rng(seed)
    model = random.integers(0, models, images)
    observed = []
    for one in model.tolist():
        seen = random.permutation(points)[: random.integers(0, points)] + points * one
        observed.append(dict(zip(seen.tolist(), random.lognormal(0, 0.5, len(seen)).tolist(), strict=True)))
    return reconstructed(model, random.random((images, 3)), observed), model, observed


def naive_pool(dataset, image, count):
    others = [i for i in range(len(dataset.models)) if dataset.models[i] == dataset.models[image] and i != image]
    distance = np.linalg.norm(dataset.centres - dataset.centres[image], axis=1)
    return sorted(others, key=lambda other: (distance[other], other))[:count]


def naive_positives(dataset, observed, image, rule):
    pool = naive_pool(dataset, image, rule.neighbours)
    own = observed[image]
    shared = {other: [p for p in own if p in observed[other]] for other in pool}
    if not any(shared.values()):
        return []
    if rule.name == "m1":
        return sorted(pool)
    if rule.name == "m2":
        return [max(pool, key=lambda other: (len(shared[other]), -pool.index(other)))]
    allowed = []
    for other in sorted(pool):
        if shared[other] and len(shared[other]) / len(own) >= rule.min_overlap:
            ratio = np.median([np.float32(observed[other][p]) / np.float64(np.float32(own[p])) for p in shared[other]])
            if max(ratio, 1 / ratio) <= rule.max_scale_change:
                allowed.append(other)
    return allowed


def lists(found):
    return [row.tolist() for row in found]


@pytest.mark.parametrize("name", ["m1", "m2", "m3"])
@pytest.mark.parametrize(("neighbours", "min_overlap", "max_scale_change"), [(100, 0.2, 1.5), (7, 0.4, 1.2), (1, 0, 9)])
def test_rules_equal_naive_loops_on_random_models(name, neighbours, min_overlap, max_scale_change):
    rule = PositiveRule(name, neighbours, min_overlap, max_scale_change)
    for seed in range(3):
        dataset, _, observed = random_town(seed)
        expected = [naive_positives(dataset, observed, image, rule) for image in range(60)]
        assert sum(map(len, expected)) > 30
        assert lists(possible_positives(dataset, rule)) == expected


def test_thresholds_of_the_paper_are_the_defaults():
    assert PositiveRule() == PositiveRule("m3", 100, 0.2, 1.5)


def test_m1_allows_the_whole_pool_also_cameras_that_see_nothing_of_the_same():
    dataset = in_a_row([{1: 1}, {1: 1}, {2: 1}, {2: 1}, {3: 1}])
    assert lists(possible_positives(dataset, PositiveRule("m1", neighbours=3)))[0] == [1, 2, 3]


def test_m2_takes_the_image_with_the_most_shared_points_of_equals_the_nearest_camera():
    dataset = in_a_row([{1: 1, 2: 1, 3: 1}, {1: 1}, {1: 1, 2: 1}, {2: 1, 3: 1}, {4: 1, 5: 1, 6: 1}])
    assert lists(possible_positives(dataset, PositiveRule("m2")))[0] == [2]


def test_m2_looks_no_farther_than_the_pool():
    dataset = in_a_row([{1: 1, 2: 1, 3: 1}, {1: 1}, {1: 1, 2: 1}, {1: 1, 2: 1, 3: 1}])
    assert lists(possible_positives(dataset, PositiveRule("m2", neighbours=2)))[0] == [2]


def test_m3_needs_a_share_of_the_querys_points_not_of_the_others():
    ten = {point: 1 for point in range(10)}
    dataset = in_a_row([ten, {0: 1}, {0: 1, 1: 1}, {point: 1 for point in range(8, 100)}])
    found = lists(possible_positives(dataset, PositiveRule("m3")))
    assert found[0] == [2, 3], "2 of 10 points are enough, 1 of 10 is not"
    assert found[1] == [0, 2], "of one point one is enough"
    assert found[3] == [], "2 of 92 are not"


def test_m3_needs_a_scale_alike_in_the_median_of_the_shared_points():
    query = {1: 1, 2: 1, 3: 1}
    others = [
        {1: 1.5, 2: 1.5, 3: 1.5},
        {1: 1.6, 2: 1.6, 3: 1.6},
        {1: 9, 2: 1, 3: 1},
        {1: 0.7, 2: 0.7},
        {1: 0.6, 2: 0.6},
    ]
    dataset = in_a_row([query, *others])
    assert lists(possible_positives(dataset, PositiveRule("m3")))[0] == [1, 3, 4]
    assert lists(possible_positives(dataset, PositiveRule("m3", max_scale_change=1.7)))[0] == [1, 2, 3, 4, 5]


def test_m3_gives_nothing_where_no_image_passes_and_falls_back_on_no_other_rule():
    dataset = in_a_row([{1: 1, 2: 1}, {1: 2, 2: 2}])
    assert lists(possible_positives(dataset, PositiveRule("m2"))) == [[1], [0]]
    assert lists(possible_positives(dataset, PositiveRule("m3"))) == [[], []]


def test_m3_with_no_overlap_asked_for_still_needs_a_shared_point():
    dataset = in_a_row([{1: 1}, {1: 1}, {2: 1}])
    assert lists(possible_positives(dataset, PositiveRule("m3", min_overlap=0))) == [[1], [0], []]


@pytest.mark.parametrize("name", ["m1", "m2", "m3"])
def test_image_that_shares_no_point_has_no_positive_by_any_rule(name):
    dataset = in_a_row([{1: 1}, {1: 1}, {2: 1}, {}])
    assert [len(row) > 0 for row in possible_positives(dataset, PositiveRule(name))] == [True, True, False, False]


@pytest.mark.parametrize("name", ["m1", "m2", "m3"])
def test_positives_come_from_the_same_model_and_a_lonely_image_has_none(name):
    dataset = in_a_row([{1: 1}, {2: 1}, {1: 1}, {2: 1}, {3: 1}], models=[7, 3, 7, 3, 5])
    assert lists(possible_positives(dataset, PositiveRule(name))) == [[2], [3], [0], [1], []]


def test_m1_without_points_trusts_the_camera_centres():
    dataset = in_a_row([{}] * 4, point_starts=None, points=None, scales=None)
    assert lists(possible_positives(dataset, PositiveRule("m1", neighbours=2))) == [[1, 2], [0, 2], [0, 1], [1, 2]]


def test_pairs_are_the_published_ones_each_once():
    pairs = np.array([[3, 1], [0, 2], [3, 0], [3, 1]])
    dataset = in_a_row([{}] * 4, centres=None, point_starts=None, points=None, scales=None, pairs=pairs)
    assert lists(possible_positives(dataset, PositiveRule("pairs"))) == [[2], [], [], [0, 1]]


def test_cameras_at_one_place_are_neighbours_of_one_another_and_never_of_themselves():
    found = nearest_centres(np.zeros((9, 3)), 4)
    assert found.shape == (9, 4)
    assert not (found == np.arange(9)[:, None]).any()
    assert all(len(set(row)) == 4 for row in found.tolist())


def test_pool_of_a_small_model_is_the_whole_model():
    np.testing.assert_array_equal(nearest_centres(np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]), 100)[1], [0, 2])


@pytest.mark.parametrize("block", [1, 100])
def test_blocks_of_any_size_count_the_same(monkeypatch, block):
    random = np.random.default_rng(0)
    seen = [np.sort(random.permutation(50)[: random.integers(0, 50)]) + 10**9 for _ in range(20)]
    observations = Observations(np.array([len(one) for one in seen]), np.concatenate(seen))
    monkeypatch.setattr(sfm_geometry, "_BLOCK", block)
    shared = observations.shared_points(np.tile(np.arange(20), (20, 1)))
    for a, b in itertools.product(range(20), repeat=2):
        assert shared[a, b] == len(np.intersect1d(seen[a], seen[b]))


@pytest.mark.parametrize(
    ("name", "field"), [("m1", "centres"), ("m2", "point_starts"), ("m3", "point_starts"), ("pairs", "pairs")]
)
def test_missing_field_is_named(name, field):
    missing = dict.fromkeys(("point_starts", "points", "scales") if field == "point_starts" else (field,))
    dataset = in_a_row([{1: 1}, {1: 1}], **missing)
    with pytest.raises(
        ValueError, match=rf"`dataset` must have `{field}`.*Received: positive='{name}', dataset.{field}"
    ):
        possible_positives(dataset, PositiveRule(name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "m4"}, "`positive` must be one of m1, .*Received: positive='m4'"),
        ({"neighbours": 0}, "`neighbours` must be at least 1. Received: neighbours=0"),
        ({"min_overlap": 1.1}, "`min_overlap` must be a share.*Received: min_overlap=1.1"),
        ({"max_scale_change": 0.5}, "`max_scale_change` must be at least 1.*Received: max_scale_change=0.5"),
        ({"max_scale_change": float("nan")}, "`max_scale_change` must be at least 1.*Received: max_scale_change=nan"),
    ],
)
def test_values_outside_their_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PositiveRule(**arguments)
