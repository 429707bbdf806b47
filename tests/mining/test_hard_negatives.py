import numpy as np
import pytest

from keras_sare.datasets import neighbours_within
from keras_sare.mining import HardNegativeMiner


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


@pytest.fixture
def town():
    """60 database images along a line, one every 5 m, and 20 queries, with random descriptors."""
    rng = np.random.default_rng(0)
    database = 5.0 * np.arange(60)
    queries = 14.0 * np.arange(20) + 2
    distance = np.abs(queries[:, None] - database)
    positives = [np.flatnonzero((row > 1) & (row <= 10)) for row in distance]
    non_negatives = [np.flatnonzero(row <= 25) for row in distance]
    return positives, non_negatives, unit(rng.normal(size=(20, 8))), unit(rng.normal(size=(60, 8)))


@pytest.fixture
def steps(town):
    """The same town with descriptors of small whole numbers: distances are exact, and many are equal."""
    rng = np.random.default_rng(1)
    return *town[:2], rng.integers(-1, 2, (20, 4)).astype("float32"), rng.integers(-1, 2, (60, 4)).astype("float32")


def miner(town, **kwargs):
    return HardNegativeMiner(town[0], town[1], 60, **{"negatives": 5, "pool": 20, **kwargs})


def mine(one, town, queries, epoch=1, **kwargs):
    return one.mine(np.asarray(queries), town[2][queries], town[3], epoch, **kwargs)


def draw(seed, epoch, query, town, pool):
    """The definite negatives that a query is given, written down plainly."""
    excluded = town[1][query]
    order = np.random.default_rng([seed, epoch, query]).choice(60, min(60, pool + len(excluded)), replace=False)
    return [row for row in order if row not in excluded][:pool]


def by_distance(town, query, rows):
    return sorted(rows, key=lambda row: (((town[2][query] - town[3][row]) ** 2).sum(), row))


def test_images_and_margins_of_a_window_have_the_promised_shapes_and_types(town):
    mined = mine(miner(town), town, np.arange(20))
    assert (mined.images.shape, mined.images.dtype) == ((20, 6), np.int64)
    assert (mined.margins.shape, mined.margins.dtype) == ((20,), np.float32)


@pytest.mark.parametrize("way", ["random", "full"])
def test_positive_is_the_nearest_potential_positive(town, way):
    mined = mine(miner(town, mining=way), town, np.arange(20))
    for query in range(20):
        assert mined.images[query, 0] == by_distance(town, query, town[0][query])[0]


@pytest.mark.parametrize("kind", ["town", "steps"])
def test_random_mining_equals_a_naive_loop_over_epochs(kind, request):
    given = request.getfixturevalue(kind)
    one = miner(given, seed=3)
    known = {query: [] for query in range(20)}
    for epoch in range(4):
        mined = mine(one, given, np.arange(20), epoch)
        for query in range(20):
            known[query] = by_distance(given, query, {*draw(3, epoch, query, given, 20), *known[query]})[:5]
            assert mined.images[query, 1:].tolist() == known[query]
    assert one.previous_negatives.tolist() == list(known.values())


@pytest.mark.parametrize("kind", ["town", "steps"])
def test_full_mining_equals_a_sort_of_all_definite_negatives(kind, request):
    given = request.getfixturevalue(kind)
    one = miner(given, mining="full")
    mined = mine(one, given, np.arange(20))
    for query in range(20):
        allowed = set(range(60)) - set(given[1][query].tolist())
        assert mined.images[query, 1:].tolist() == by_distance(given, query, allowed)[:5]
    np.testing.assert_array_equal(one.previous_negatives, mined.images[:, 1:])


def test_a_pool_of_everything_finds_what_full_mining_finds(town):
    random, full = (mine(miner(town, pool=1000, mining=way), town, np.arange(20)) for way in ("random", "full"))
    np.testing.assert_array_equal(random.images, full.images)
    np.testing.assert_allclose(random.margins, full.margins, atol=1e-6)


@pytest.mark.parametrize("way", ["random", "full"])
def test_margins_are_the_hardest_negatives_distance_minus_the_positives(town, way):
    mined = mine(miner(town, mining=way), town, np.arange(20))
    distance = ((town[2][:, None].astype("float64") - town[3][mined.images[:, :2]]) ** 2).sum(-1)
    np.testing.assert_allclose(mined.margins, distance[:, 1] - distance[:, 0], atol=1e-6)


@pytest.mark.parametrize("way", ["random", "full"])
@pytest.mark.parametrize("memory_limit", [700, 3000])
def test_blocks_of_any_size_give_the_same(steps, way, memory_limit):
    whole = mine(miner(steps, mining=way), steps, np.arange(20))
    parts = mine(miner(steps, mining=way), steps, np.arange(20), memory_limit=memory_limit)
    np.testing.assert_array_equal(parts.images, whole.images)
    np.testing.assert_array_equal(parts.margins, whole.margins)


@pytest.mark.parametrize("way", ["random", "full"])
def test_a_window_equals_its_queries_mined_one_by_one_in_any_order(steps, way):
    whole = mine(miner(steps, mining=way), steps, np.arange(20))
    one = miner(steps, mining=way)
    for query in np.random.default_rng(0).permutation(20):
        single = mine(one, steps, [query])
        np.testing.assert_array_equal(single.images[0], whole.images[query])
        assert single.margins[0] == whole.margins[query]


@pytest.mark.parametrize("way", ["random", "full"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_memory_map_gives_the_same_as_an_array(town, way, dtype, tmp_path):
    np.save(tmp_path / "database.npy", town[3].astype(dtype))
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    given = (*town[:3], town[3].astype(dtype))
    expected = mine(miner(given, mining=way), given, np.arange(20))
    found = mine(miner(given, mining=way), (*town[:3], mapped), np.arange(20), memory_limit=700)
    np.testing.assert_array_equal(found.images, expected.images)


@pytest.mark.parametrize("way", ["random", "full"])
def test_lists_of_neighbours_serve_as_well_as_arrays(town, way):
    database = np.stack([5.0 * np.arange(60), np.zeros(60)], 1)
    queries = np.stack([14.0 * np.arange(20) + 2] * 2, 1)
    queries[:, 1] = 0
    packed = (neighbours_within(queries, database, 10, exclude_within=1), neighbours_within(queries, database, 25))
    found = mine(miner((*packed, *town[2:]), mining=way), town, np.arange(20))
    np.testing.assert_array_equal(found.images, mine(miner(town, mining=way), town, np.arange(20)).images)


@pytest.mark.parametrize("way", ["random", "full"])
def test_negatives_are_never_within_the_radius_and_never_repeat(town, way):
    one = miner(town, mining=way)
    for epoch in range(30):
        for query, images in enumerate(mine(one, town, np.arange(20), epoch).images):
            assert not np.isin(images[1:], town[1][query]).any()
            assert len(set(images.tolist())) == 6


def test_remembered_negatives_compete_again(town):
    """With remembered negatives the hardest seen so far are never lost, so tuples only get harder."""
    one = miner(town, pool=6)
    similarity = town[3] @ town[2][3]
    hardness = [np.sort(similarity[mine(one, town, [3], epoch).images[0, 1:]]) for epoch in range(10)]
    assert all((later >= earlier - 1e-7).all() for earlier, later in zip(hardness, hardness[1:], strict=False))
    assert (hardness[-1] > hardness[0] + 1e-3).any()


def test_pool_counts_definite_negatives_only(town):
    # As many negatives as the pool holds: all of it is chosen.
    pool = mine(miner(town, negatives=20, pool=20), town, [7], epoch=0).images[0, 1:]
    assert len(set(pool.tolist())) == 20
    assert not np.isin(pool, town[1][7]).any()


def test_draw_depends_on_seed_epoch_and_query_alone(town):
    first = miner(town)
    second = miner(town)
    mine(second, town, [0], epoch=4)
    np.testing.assert_array_equal(mine(first, town, [5], 2).images, mine(second, town, [5, 6], 2).images[:1])
    drawn = [mine(miner(town, seed=seed), town, [5], epoch).images.tolist() for seed, epoch in ((0, 1), (0, 2), (1, 1))]
    assert drawn[0] != drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize("way", ["random", "full"])
def test_a_miner_that_is_given_what_another_remembers_goes_on_as_that_one(town, way):
    unbroken = miner(town, mining=way)
    resumed = miner(town, mining=way)
    mine(unbroken, town, np.arange(20), epoch=1)
    resumed.previous_negatives[:] = unbroken.previous_negatives
    np.testing.assert_array_equal(
        mine(resumed, town, np.arange(20), epoch=2).images, mine(unbroken, town, np.arange(20), epoch=2).images
    )


@pytest.mark.parametrize("way", ["random", "full"])
def test_a_worker_without_a_share_mines_nothing(town, way):
    mined = mine(miner(town, mining=way), town, np.zeros(0, int))
    assert (mined.images.shape, mined.margins.shape) == ((0, 6), (0,))


def test_queries_without_positive_are_left_out(town):
    town[0][4] = np.array([], np.int64)
    assert 4 not in miner(town).trainable_queries
    assert len(miner(town).trainable_queries) == 19
    with pytest.raises(ValueError, match="`queries` must have a potential positive each.*Received: query 4"):
        mine(miner(town), town, [3, 4])


def test_dataset_without_any_positive_is_refused(town):
    with pytest.raises(ValueError, match="`positives` must give at least one of the 20 queries a database image: none"):
        HardNegativeMiner([np.array([], int)] * 20, town[1], 60)


def test_more_negatives_than_the_database_has_are_refused(town):
    with pytest.raises(ValueError, match="`negatives` must not exceed .* only 49 among 60 .* Received: negatives=50"):
        miner(town, negatives=50)


def test_no_negatives_are_refused(town):
    with pytest.raises(ValueError, match="`negatives` must be at least 1. Received: negatives=0"):
        miner(town, negatives=0)


def test_an_unknown_way_of_mining_is_refused(town):
    with pytest.raises(ValueError, match="`mining` must be one of .*full. Received: mining='hard'"):
        miner(town, mining="hard")


def test_lists_of_different_queries_are_refused(town):
    with pytest.raises(ValueError, match=r"one entry for each query.*len\(positives\)=20, len\(non_negatives\)=19"):
        HardNegativeMiner(town[0], town[1][:19], 60)


@pytest.mark.parametrize("way", ["random", "full"])
def test_a_positive_that_is_a_definite_negative_too_is_refused(town, way):
    nearest_of_all = by_distance(town, 3, range(60))[0]
    town[0][3] = np.array([nearest_of_all])
    town[1][3] = np.array([], int)
    with pytest.raises(ValueError, match="`positives` must be among `non_negatives`.*Received: query 3, database"):
        mine(miner(town, pool=60, mining=way), town, [2, 3])


def test_descriptors_of_other_queries_are_refused(town):
    with pytest.raises(ValueError, match=r"each of the 3 queries.*descriptors.shape=\(20, 8\)"):
        miner(town).mine(np.arange(3), town[2], town[3], 1)


def test_a_database_of_another_size_is_refused(town):
    with pytest.raises(ValueError, match=r"60 database images.*database.shape=\(59, 8\)"):
        miner(town).mine(np.arange(20), town[2], town[3][:59], 1)


@pytest.mark.parametrize("way", ["random", "full"])
def test_descriptors_that_are_not_finite_are_refused(town, way):
    town[3][town[0][5][0]] = np.nan
    with pytest.raises(ValueError, match="finite numbers only.*Received: .* database row|broken rows from row"):
        mine(miner(town, mining=way), town, np.arange(20))


@pytest.mark.parametrize("way", ["random", "full"])
def test_descriptors_of_what_is_reachable_are_enough(steps, way):
    whole = miner(steps, mining=way, pool=6)
    partly = miner(steps, mining=way, pool=6)
    queries = np.array([3, 9, 4])
    for epoch in (1, 2):  # In the second one, what is remembered from the first is required too.
        ids = partly.required_images(queries, epoch)
        assert (np.diff(ids) > 0).all()
        assert len(ids) == 60 if way == "full" else 15 < len(ids) < 40
        found = partly.mine(queries, steps[2][queries], steps[3][ids], epoch, ids)
        expected = mine(whole, steps, queries, epoch)
        np.testing.assert_array_equal(found.images, expected.images)
        np.testing.assert_array_equal(found.margins, expected.margins)


def test_image_that_is_reachable_and_not_given_is_named(town):
    one = miner(town)
    ids = one.required_images(np.array([5]), 1)
    with pytest.raises(ValueError, match=f"`ids` must hold all images .* ids without image {ids[7]}"):
        one.mine(np.array([5]), town[2][[5]], town[3][np.delete(ids, 7)], 1, np.delete(ids, 7))
