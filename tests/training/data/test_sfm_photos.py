import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.distribution.workers import Workers
from keras_sare.extraction import StoredInputs
from keras_sare.extraction.extractor import Extractor
from keras_sare.training.cache_refresher import CacheRefresher
from keras_sare.training.stage_timer import StageTimer


@pytest.fixture
def photos(make_sfm_photos):
    return make_sfm_photos("train", models=4, seed=0)


@pytest.fixture
def make_miner(make_model):
    strategy = tf.distribute.get_strategy()
    extractor = Extractor(make_model(), strategy)
    return lambda photos: CacheRefresher(photos, extractor, Workers(strategy))


def test_photos_are_named_after_their_dataset(photos):
    assert photos.name == "train"
    np.testing.assert_array_equal(photos.paths, photos.dataset.paths)


def test_tuples_hold_a_positive_that_shares_points_and_negatives_of_other_models(photos, make_miner):
    miner = make_miner(photos)
    queries = np.array([5, 0, 11, 14])
    window = miner.mine(queries, 1, StageTimer())
    assert window.tuples.shape == (4, 4)
    np.testing.assert_array_equal(window.tuples[:, 0], queries)
    models = photos.dataset.models[window.tuples]
    assert (np.abs(window.tuples[:, 1] - queries) == 1).all()  # the photo before or after it: only they share points
    assert (models[:, 1] == models[:, 0]).all()
    assert all(len({query, *negatives}) == 3 for query, _, *negatives in models)  # N2: one of a cluster
    assert miner.state_dict()["remembered"].shape == (0, 2)


def test_epoch_is_mined_a_few_times_each_with_as_many_queries(make_sfm_photos, make_miner):
    miner = make_miner(make_sfm_photos("train", 4, 0, mine_times=3))
    windows = miner.windows(1)
    assert [len(window) for window in windows] == [6, 6, 4]
    assert sorted(np.concatenate(windows)) == list(range(16))
    assert not np.array_equal(np.concatenate(windows), np.concatenate(miner.windows(2)))


def test_some_queries_of_an_epoch_are_drawn_anew_for_each(make_sfm_photos, make_miner):
    miner = make_miner(make_sfm_photos("train", 4, 0, queries_per_epoch=7))
    epochs = [np.concatenate(miner.windows(epoch)) for epoch in (1, 2)]
    assert [len(np.unique(queries)) for queries in epochs] == [6, 6]  # the seventh fills no step
    assert set(epochs[0]) != set(epochs[1])


def test_photo_that_is_query_and_database_is_described_once(photos, make_miner, monkeypatch):
    miner = make_miner(photos)
    described = []
    batches = photos.inputs.batches
    monkeypatch.setattr(photos.inputs, "batches", lambda ids, size: (described.append(ids), batches(ids, size))[1])
    miner.mine(np.arange(16), 1, StageTimer())
    np.testing.assert_array_equal(np.concatenate(described), np.arange(16))


def test_fewer_queries_than_a_step_needs_are_refused(make_sfm_photos, make_miner):
    with pytest.raises(ValueError, match="must not exceed the training queries of an epoch, 3 with a positive"):
        make_miner(make_sfm_photos("train", 4, 0, queries_per_epoch=3, tuples_per_step=4))


@pytest.mark.parametrize("field", ["models", "clusters", "centres", "points", "scales"])
def test_other_models_are_another_dataset(photos, field):
    assert photos.fingerprint.startswith("16 images of 4 models, checksum ")
    stored = dataclasses.replace(photos, inputs=StoredInputs(np.zeros((16, 2), np.float32)), stored=True)
    assert stored.fingerprint == photos.fingerprint
    values = getattr(photos.dataset, field).copy()
    values[-4:] += 1
    other = dataclasses.replace(photos, dataset=dataclasses.replace(photos.dataset, **{field: values}))
    assert other.fingerprint != photos.fingerprint
