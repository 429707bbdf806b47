import numpy as np
import pytest

from keras_sare.datasets import neighbours_within
from keras_sare.mining import PlaceBatchMiner

POSITIVES = 10
NEGATIVES = 25


@pytest.fixture
def street():
    """Positions of 90 database images and 60 queries on two crossing streets, crowded at the crossing."""
    rng = np.random.default_rng(4)
    along = rng.normal(0, 120, 150)
    across = rng.normal(0, 2, 150)
    turned = rng.random(150) < 0.5
    positions = np.where(turned[:, None], np.stack([across, along], 1), np.stack([along, across], 1))
    return positions[90:], positions[:90]


@pytest.fixture
def miner(street):
    return make(street)


def make(street, **arguments):
    queries, database = street
    near = neighbours_within(queries, database, NEGATIVES + POSITIVES)
    return PlaceBatchMiner(neighbours_within(queries, database, POSITIVES), near, **arguments)


def mine(miner, queries, epoch=1):
    return miner.mine(queries, np.zeros((len(queries), 0)), np.zeros((0, 0)), epoch).images


def test_images_of_unlike_places_of_a_batch_are_definite_negatives(miner, street):
    queries, database = street
    size = 5
    for epoch in (1, 2):
        order = miner.epoch_queries(epoch, size)
        assert len(order) % size == 0
        assert len(np.unique(order)) == len(order) >= 20
        images = mine(miner, order, epoch)
        assert images.shape == (len(order), 3)
        for start in range(0, len(order), size):
            batch = slice(start, start + size)
            least, most = apart(queries, database, order[batch], images[batch])
            assert least[~np.eye(size, dtype=bool)].min() > NEGATIVES
            assert np.diag(most).max() <= 2 * POSITIVES


def apart(queries, database, order, images):
    """Least distance between images of two places of a batch, and largest within one: [size, size] each."""
    where = np.concatenate([queries[order][:, None], database[images]], axis=1)
    distances = np.linalg.norm(where[:, :, None, None] - where[None, None], axis=-1).transpose(0, 2, 1, 3)
    return distances.min(axis=(2, 3)), distances.max(axis=(2, 3))


def test_batches_of_places_alike_are_apart_and_harder_than_random_ones(street):
    """Descriptors say in which of ten kinds of street a photo is."""
    queries, database = street
    miner = make(street)
    kinds = np.random.default_rng(2).integers(0, 10, len(queries))
    descriptors = np.eye(10, dtype="float32")[kinds] + 0.1 * np.random.default_rng(3).normal(size=(60, 10))
    size = 6

    def pairs_of_a_kind(order):
        batches = kinds[order].reshape(-1, size)
        return np.mean(batches[:, :, None] == batches[:, None]) - 1 / size

    shuffled = np.random.default_rng(5).permutation(miner.trainable_queries)
    arranged = miner.arrange(shuffled, descriptors[shuffled], 1, size)
    order = arranged[arranged >= 0]
    assert (arranged[len(order) :] == -1).all()
    assert len(np.unique(order)) == len(order) >= 4 * size
    assert len(order) % size == 0
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        least, most = apart(queries, database, batch, mine(miner, batch))
        assert least[~np.eye(size, dtype=bool)].min() > NEGATIVES
        assert np.diag(most).max() <= 2 * POSITIVES
    assert pairs_of_a_kind(order) > 2 * pairs_of_a_kind(miner.epoch_queries(1, size))
    np.testing.assert_array_equal(arranged, make(street).arrange(shuffled, descriptors[shuffled], 1, size))
    assert not np.array_equal(arranged, miner.arrange(shuffled, descriptors[shuffled], 2, size))


def test_places_are_drawn_anew_in_each_epoch_and_alike_in_every_run(street):
    one = make(street)
    other = make(street)
    order = one.epoch_queries(1, 4)
    np.testing.assert_array_equal(order, other.epoch_queries(1, 4))
    assert not np.array_equal(order[:8], one.epoch_queries(2, 4)[:8])
    np.testing.assert_array_equal(mine(one, order), mine(other, order[::-1])[::-1])
    assert not np.array_equal(mine(one, order), mine(one, order, epoch=2))
    assert not np.array_equal(mine(one, order), mine(make(street, seed=1), order))


def test_images_of_a_place_are_different_positives_as_long_as_there_are_enough(street):
    miner = make(street, images_per_place=6)
    queries = miner.trainable_queries
    for query, images in zip(queries.tolist(), mine(miner, queries), strict=True):
        positives = miner.positives[query]
        assert set(images) <= set(positives)
        assert len(set(images)) == min(5, len(positives))


def test_a_query_that_is_near_one_of_the_batch_waits_for_the_next():
    positives = [np.array([0]), np.array([0, 1]), np.array([2]), np.array([3])]
    near = [np.array([0, 1]), np.array([0, 1]), np.array([2]), np.array([3])]
    miner = PlaceBatchMiner(positives, near, images_per_place=2)
    for epoch in range(1, 9):
        order = miner.epoch_queries(epoch, 2).reshape(-1, 2).tolist()
        assert len(order) == 2, "0 and 1 are near one another, so each goes with one of the others"
        assert all(sorted(batch) not in ([0, 1], [2, 3]) for batch in order)
    assert miner.largest_batch() == 3
    assert len(miner.epoch_queries(1, 4)) == 0


def test_wrong_arguments_are_refused(street, miner):
    with pytest.raises(ValueError, match="`images_per_place` must be at least 2. Received: images_per_place=1"):
        make(street, images_per_place=1)
    with pytest.raises(ValueError, match="`positives` and `near` must have one entry for each query"):
        PlaceBatchMiner(miner.positives, miner.near[:1] if isinstance(miner.near, list) else [miner.near[0]])
    with pytest.raises(ValueError, match="`positives` must give at least one of the 2 queries a database image"):
        PlaceBatchMiner([np.zeros(0, np.int64)] * 2, [np.zeros(0, np.int64)] * 2)
    without = np.setdiff1d(np.arange(60), miner.trainable_queries)
    with pytest.raises(ValueError, match=f"`queries` must have a potential positive each.*query {without[0]}"):
        mine(miner, without[:1])
