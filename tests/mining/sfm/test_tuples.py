from dataclasses import replace

import numpy as np
import pytest

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.mining.sfm.positives import PositiveRule, possible_positives
from keras_sare.mining.sfm.tuples import SfMTupleMiner

IMAGES = 90
MODELS = 9


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


@pytest.fixture
def town():
    """90 images of 9 models of 10, in mixed order; each observes half of its model's 20 points."""
    random = np.random.default_rng(0)
    models = random.permutation(np.repeat(np.arange(MODELS), 10))
    points = [np.sort(random.permutation(20)[:10]) + 20 * model for model in models]
    return SfMDataset(
        name="town",
        paths=np.array([f"{i}.jpg" for i in range(IMAGES)], np.dtypes.StringDType()),
        models=models,
        clusters=models + 100,
        centres=random.random((IMAGES, 3)),
        point_starts=10 * np.arange(IMAGES + 1),
        points=np.concatenate(points),
        scales=random.lognormal(0, 0.4, 10 * IMAGES).astype("float32"),
        pairs=None,
    )


@pytest.fixture
def descriptors():
    return unit(np.random.default_rng(1).normal(size=(IMAGES, 8)))


@pytest.fixture
def steps():
    """Descriptors of small whole numbers: distances are exact, and many are equal."""
    return np.random.default_rng(1).integers(-1, 2, (IMAGES, 4)).astype("float32")


def mine(one, rows, queries, epoch=1, **kwargs):
    return one.mine(np.asarray(queries), rows[queries], rows, epoch, **kwargs)


def published(town):
    """The same images with two positives each and no geometry."""
    rows = [np.flatnonzero(town.models == model) for model in range(MODELS)]
    pairs = np.concatenate([np.stack([one, np.roll(one, shift)], 1) for one in rows for shift in (1, 3)])
    return replace(town, centres=None, point_starts=None, points=None, scales=None, pairs=pairs)


def given(town, positive):
    return published(town) if positive == "pairs" else town


def by_distance(rows, query, images):
    return sorted(images, key=lambda image: (((rows[query] - rows[image]) ** 2).sum(), image))


@pytest.mark.parametrize("positive", ["m1", "m2", "m3", "pairs"])
@pytest.mark.parametrize("negatives_from", ["N1", "N2"])
@pytest.mark.parametrize("pool", [40, 20000])
def test_tuples_equal_a_naive_loop_over_epochs(town, steps, positive, negatives_from, pool):
    one = SfMTupleMiner(given(town, positive), positive, 4, negatives_from, pool, seed=3)
    possible = possible_positives(given(town, positive), PositiveRule(positive))
    for epoch in range(1, 4):
        mined = mine(one, steps, one.trainable_queries, epoch)
        drawn = np.random.default_rng([3, epoch, 1]).permutation(IMAGES)[:pool]
        for query, images, margin in zip(one.trainable_queries, mined.images, mined.margins, strict=True):
            allowed = possible[query]
            if positive in ("m3", "pairs"):
                allowed = allowed[[np.random.default_rng([3, epoch, 3, query]).integers(len(allowed))]]
            assert images[0] == by_distance(steps, query, allowed)[0]
            used = {town.models[query]}
            expected = []
            for image in by_distance(steps, query, drawn):
                if town.models[image] not in used:
                    expected.append(image)
                    used |= {town.models[image]} if negatives_from == "N2" else set()
            assert images[1:].tolist() == expected[:4]
            distance = ((steps[query] - steps[images]) ** 2).sum(-1)
            assert margin == distance[1] - distance[0]


def test_images_and_margins_of_a_window_have_the_promised_shapes_and_types(town, descriptors):
    one = SfMTupleMiner(town)
    mined = mine(one, descriptors, one.trainable_queries)
    assert (mined.images.shape, mined.images.dtype) == ((len(one.trainable_queries), 6), np.int64)
    assert (mined.margins.shape, mined.margins.dtype) == ((len(one.trainable_queries),), np.float32)
    assert one.previous_negatives.shape == (0, 5)


@pytest.mark.parametrize("positive", ["m1", "m3", "pairs"])
def test_a_window_equals_its_queries_mined_one_by_one_in_any_order(town, steps, positive):
    one, worker = (SfMTupleMiner(given(town, positive), positive) for _ in range(2))
    queries = one.trainable_queries
    whole = mine(one, steps, queries)
    for place in np.random.default_rng(0).permutation(len(queries)):
        single = mine(worker, steps, queries[[place]])
        np.testing.assert_array_equal(single.images[0], whole.images[place])
        assert single.margins[0] == whole.margins[place]


@pytest.mark.parametrize("negatives_from", ["N1", "N2"])
def test_descriptors_of_what_is_reachable_are_enough_in_blocks_of_any_size(town, steps, negatives_from):
    one = SfMTupleMiner(town, "m1", negatives_from=negatives_from, pool=30)
    queries = one.trainable_queries[[3, 9, 4]]
    ids = one.required_images(queries, 2)
    assert (np.diff(ids) > 0).all()
    assert 30 < len(ids) < IMAGES
    expected = mine(one, steps, queries, 2)
    for memory_limit in (700, 5e8):
        found = one.mine(queries, steps[queries], steps[ids], 2, ids, memory_limit)
        np.testing.assert_array_equal(found.images, expected.images)
        np.testing.assert_array_equal(found.margins, expected.margins)


def test_reachable_is_the_pool_and_the_positives(town):
    one = SfMTupleMiner(town, "m2", pool=30)
    query = one.trainable_queries[:1]
    pool = np.random.default_rng([0, 5, 1]).permutation(IMAGES)[:30]
    np.testing.assert_array_equal(one.required_images(query, 5), np.union1d(pool, one.positives[query[0]]))


def test_image_that_is_reachable_and_not_given_is_named(town, descriptors):
    one = SfMTupleMiner(town, pool=30)
    query = one.trainable_queries[:1]
    ids = one.required_images(query, 1)
    with pytest.raises(ValueError, match=f"`ids` must hold all images .* ids without image {ids[7]}"):
        one.mine(query, descriptors[query], descriptors[np.delete(ids, 7)], 1, np.delete(ids, 7))


def test_draws_depend_on_seed_and_epoch(town, descriptors):
    one = SfMTupleMiner(town, "m3", pool=30)
    queries = one.trainable_queries
    first = mine(one, descriptors, queries, 1).images
    np.testing.assert_array_equal(mine(one, descriptors, queries, 1).images, first)
    for other in (mine(one, descriptors, queries, 2), mine(SfMTupleMiner(town, pool=30, seed=1), descriptors, queries)):
        assert (other.images[:, 0] != first[:, 0]).any()
        assert (other.images[:, 1:] != first[:, 1:]).any()


def test_m1_and_m2_keep_their_positive_from_epoch_to_epoch(town, descriptors):
    for positive in ("m1", "m2"):
        one = SfMTupleMiner(town, positive)
        queries = one.trainable_queries
        first, second = (mine(one, descriptors, queries, epoch).images[:, 0] for epoch in (1, 2))
        np.testing.assert_array_equal(first, second)


def test_a_pool_too_small_for_a_tuple_grows_until_every_query_finds_its_negatives(town, descriptors):
    one = SfMTupleMiner(town, "m1", 8, "N2", pool=1)
    for epoch in range(20):
        images = mine(one, descriptors, one.trainable_queries, epoch).images
        assert all(len(set(town.models[row[1:]].tolist())) == 8 for row in images)


def test_queries_of_an_epoch_are_random_and_without_repetition(town):
    one = SfMTupleMiner(town, "m1", queries_per_epoch=20)
    first = one.epoch_queries(1)
    second = one.epoch_queries(2)
    assert len(first) == len(set(first.tolist())) == 20
    assert set(first.tolist()) <= set(one.trainable_queries.tolist())
    assert set(first.tolist()) != set(second.tolist())
    np.testing.assert_array_equal(SfMTupleMiner(town, "m1", queries_per_epoch=20).epoch_queries(1), first)


@pytest.mark.parametrize("queries_per_epoch", [None, 1000])
def test_all_queries_are_used_where_no_fewer_are_asked_for(town, queries_per_epoch):
    one = SfMTupleMiner(town, "m1", queries_per_epoch=queries_per_epoch)
    order = one.epoch_queries(1)
    assert (np.diff(order) < 0).any()
    np.testing.assert_array_equal(np.sort(order), one.trainable_queries)


def test_other_thresholds_come_with_a_rule(town):
    strict = SfMTupleMiner(town, PositiveRule("m3", min_overlap=0.7))
    assert 0 < len(strict.trainable_queries) < len(SfMTupleMiner(town, "m3").trainable_queries)


def test_mined_pairs_serve_as_published_ones(town, descriptors):
    """The way to positives that stay the same in the whole training."""
    one = SfMTupleMiner(town, "m1")
    queries = one.trainable_queries
    mined = mine(one, descriptors, queries).images
    fixed = SfMTupleMiner(replace(town, pairs=np.stack([queries, mined[:, 0]], 1)), "pairs")
    np.testing.assert_array_equal(mine(fixed, descriptors, queries).images, mined)


def test_a_worker_without_a_share_mines_nothing(town, descriptors):
    mined = mine(SfMTupleMiner(town), descriptors, np.zeros(0, int))
    assert (mined.images.shape, mined.margins.shape) == ((0, 6), (0,))


def test_a_memory_map_gives_the_same_as_an_array(town, descriptors, tmp_path):
    one = SfMTupleMiner(town, "m1")
    np.save(tmp_path / "database.npy", descriptors.astype("float16"))
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    expected = mine(one, descriptors.astype("float16"), one.trainable_queries)
    np.testing.assert_array_equal(mine(one, mapped, one.trainable_queries, memory_limit=700).images, expected.images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positive": "m5"}, "`positive` must be one of.*Received: positive='m5'"),
        ({"negatives_from": "N3"}, "`negatives_from` must be one of N1, N2. Received: negatives_from='N3'"),
        ({"negatives": 0}, "`negatives` must be at least 1. Received: negatives=0"),
        ({"pool": 0}, "`pool` must be at least 1. Received: pool=0"),
        ({"queries_per_epoch": 0}, "`queries_per_epoch` must be at least 1. Received: queries_per_epoch=0"),
        ({"negatives": 9}, "`negatives` must not exceed the other clusters.*9 clusters. Take negatives_from='N1', or"),
        ({"negatives": 81, "negatives_from": "N1"}, "`negatives` must not exceed the images.*only 80 of 90.*=81"),
        ({"positive": PositiveRule("m3", min_overlap=1)}, "`dataset` must have an image with a positive: by 'm3' none"),
        ({"positive": "pairs"}, "`dataset` must have `pairs`.*Received: positive='pairs', dataset.pairs=None"),
    ],
)
def test_arguments_that_cannot_work_are_refused(town, arguments, message):
    with pytest.raises(ValueError, match=message):
        SfMTupleMiner(town, **arguments)


def test_as_many_negatives_as_other_clusters_are_allowed(town, descriptors):
    one = SfMTupleMiner(town, "m1", 8, "N2")
    assert mine(one, descriptors, one.trainable_queries).images.shape[1] == 9


def test_a_pair_across_clusters_is_refused(town):
    one = np.flatnonzero(town.models == 4)[0]
    other = np.flatnonzero(town.models == 5)[0]
    pairs = np.append(published(town).pairs, [[one, other]], axis=0)
    with pytest.raises(ValueError, match=rf"`dataset.pairs` .*the 1 pairs.*Received: the pair {one}, {other}"):
        SfMTupleMiner(replace(town, pairs=pairs), "pairs")


def test_queries_without_positive_are_refused(town, descriptors):
    one = SfMTupleMiner(town, PositiveRule("m3", min_overlap=0.7))
    without_positive = np.setdiff1d(np.arange(IMAGES), one.trainable_queries)[0]
    with pytest.raises(
        ValueError, match=f"`queries` must have a possible positive each.*Received: query {without_positive}"
    ):
        mine(one, descriptors, [without_positive])


def test_descriptors_of_other_queries_or_images_are_refused(town, descriptors):
    one = SfMTupleMiner(town, "m1")
    with pytest.raises(ValueError, match=r"each of the 3 queries.*descriptors.shape=\(90, 8\)"):
        one.mine(one.trainable_queries[:3], descriptors, descriptors, 1)
    with pytest.raises(ValueError, match=r"the 90 images.*database.shape=\(89, 8\)"):
        one.mine(one.trainable_queries[:3], descriptors[:3], descriptors[:89], 1)


def test_descriptors_that_are_not_finite_are_refused(town, descriptors):
    one = SfMTupleMiner(town, "m1")
    descriptors[7] = np.nan
    with pytest.raises(ValueError, match="finite numbers only"):
        mine(one, descriptors, one.trainable_queries[:3])
