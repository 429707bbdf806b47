import numpy as np
import pytest

from keras_sare.mining import HardNegativeMiner


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


@pytest.fixture
def town():
    """60 database images along a line, one every 5 m, and 20 queries, with random descriptors."""
    rng = np.random.default_rng(0)
    database, queries = 5.0 * np.arange(60), 14.0 * np.arange(20) + 2
    distance = np.abs(queries[:, None] - database)
    positives = [np.flatnonzero((row > 1) & (row <= 10)) for row in distance]
    non_negatives = [np.flatnonzero(row <= 25) for row in distance]
    return positives, non_negatives, unit(rng.normal(size=(20, 8))), unit(rng.normal(size=(60, 8)))


def miner(town, **kwargs):
    return HardNegativeMiner(town[0], town[1], 60, **{"negatives": 5, "pool": 20, **kwargs})


def test_positive_is_the_nearest_potential_positive(town):
    positives, _, queries, database = town
    for query in range(20):
        mined = miner(town).mine(query, queries[query], database, epoch=1)
        distances = np.linalg.norm(database[positives[query]] - queries[query], axis=1)
        assert mined[0] == positives[query][distances.argmin()]


def test_with_a_pool_of_everything_negatives_are_the_nearest_definite_negatives(town):
    _, non_negatives, queries, database = town
    for query in range(20):
        mined = miner(town, pool=1000).mine(query, queries[query], database, epoch=1)
        distances = np.linalg.norm(database - queries[query], axis=1)
        distances[non_negatives[query]] = np.inf
        np.testing.assert_array_equal(mined[1:], np.argsort(distances)[:5])


def test_negatives_are_never_within_the_radius_and_never_repeat(town):
    one = miner(town)
    for epoch in range(30):
        mined = one.mine(7, town[2][7], town[3], epoch)[1:]
        assert not np.isin(mined, town[1][7]).any()
        assert len(set(mined.tolist())) == 5


def test_remembered_negatives_compete_again(town):
    """With remembered negatives the hardest seen so far are never lost, so tuples only get harder."""
    one, similarity = miner(town, pool=6), town[3] @ town[2][3]
    hardness = [np.sort(similarity[one.mine(3, town[2][3], town[3], epoch)[1:]]) for epoch in range(10)]
    assert all((later >= earlier - 1e-7).all() for earlier, later in zip(hardness, hardness[1:], strict=False))
    assert (hardness[-1] > hardness[0] + 1e-3).any()


def test_pool_counts_definite_negatives_only(town):
    one = miner(town, pool=20)
    candidates = one._candidates(7, epoch=0)
    assert len(candidates) == 20
    assert not np.isin(candidates, town[1][7]).any()


def test_draw_depends_on_seed_epoch_and_query_alone(town):
    first, second = miner(town), miner(town)
    second.mine(0, town[2][0], town[3], epoch=4)
    np.testing.assert_array_equal(
        first.mine(5, town[2][5], town[3], epoch=2), second.mine(5, town[2][5], town[3], epoch=2)
    )
    assert not np.array_equal(miner(town)._candidates(5, 1), miner(town)._candidates(5, 2))
    assert not np.array_equal(miner(town)._candidates(5, 1), miner(town, seed=1)._candidates(5, 1))


def test_queries_without_positive_are_left_out(town):
    town[0][4] = np.array([], np.int64)
    assert 4 not in miner(town).trainable_queries
    assert len(miner(town).trainable_queries) == 19


def test_dataset_without_any_positive_is_refused(town):
    with pytest.raises(
        ValueError, match="`positives` must give at least one of the 20 queries a database image nearby"
    ):
        HardNegativeMiner([np.array([], int)] * 20, town[1], 60)


def test_more_negatives_than_the_database_has_are_refused(town):
    with pytest.raises(ValueError, match="`negatives` must not exceed .* only 49 among 60 .* Received: negatives=50"):
        miner(town, negatives=50)
