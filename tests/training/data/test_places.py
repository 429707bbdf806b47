import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.distribution.workers import Workers
from keras_sare.extraction import StoredInputs
from keras_sare.extraction.extractor import Extractor
from keras_sare.training import RecallValidation
from keras_sare.training.cache_refresher import CacheRefresher
from keras_sare.training.stage_timer import StageTimer


@pytest.fixture
def places(make_places):
    """Of rows of numbers instead of pixels: which image is which does not depend on what is read of it."""
    rows = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
    return dataclasses.replace(make_places("test", 6, seed=2), inputs=StoredInputs(rows))


def make_extractor(strategy):
    keras.utils.set_random_seed(3)
    with strategy.scope():
        inputs = keras.Input((6,))
        model = keras.Model(inputs, keras.layers.UnitNormalization()(keras.layers.Dense(5)(inputs)))
    return Extractor(model, strategy)


@pytest.fixture
def extractor():
    return make_extractor(tf.distribute.get_strategy())


def test_inputs_are_pixels_as_they_are_unless_said_otherwise(places):
    assert not places.stored
    assert places.augmented is None


def test_ids_run_over_the_database_and_then_over_the_queries(places, extractor):
    queries, database = places.extract_all(extractor)
    chosen = places.extract(extractor, places.query_ids(np.array([4, 1])), "two queries")
    np.testing.assert_allclose(chosen, queries[[4, 1]], atol=1e-6)
    chosen = places.extract(extractor, np.array([5]), "a database image")
    np.testing.assert_allclose(chosen, database[[5]], atol=1e-6)


def named_places(places, names):
    """The same photos without positions: database image and query of one index show the place of that name."""
    dataset = places.dataset
    sides = [ImageSet(side.paths, places=np.array(names)) for side in (dataset.database, dataset.queries)]
    return dataclasses.replace(places, dataset=PlaceDataset("rooms", *sides))


def mined(places, extractor):
    """Ids of the queries, and of the positive and the negatives that are mined for each."""
    source = places.tuple_source()
    queries = source.miner.trainable_queries
    of_queries = places.extract(extractor, source.queries[queries], "queries")
    database = places.extract(extractor, np.arange(source.database), "database")
    return source.queries[queries], source.miner.mine(queries, of_queries, database, 1).images


@pytest.mark.parametrize("database_queries", [False, True])
def test_named_places_are_enough_to_mine_tuples(places, extractor, database_queries):
    places = named_places(places, ["hall", "hall", "roof", "roof", "yard", "yard"])
    settings = dataclasses.replace(places.settings, database_queries=database_queries)
    ids, tuples = mined(dataclasses.replace(places, settings=settings), extractor)
    assert len(ids) == (12 if database_queries else 6)
    place = np.tile(np.arange(6) // 2, 2)
    assert (place[tuples[:, 0]] == place[ids]).all()
    assert (place[tuples[:, 1:]] != place[ids][:, None]).all()
    assert (tuples[:, 0] != ids).all()


def test_batches_of_places_hold_images_of_one_place_each_from_both_sides(places, extractor):
    places = named_places(places, ["hall", "hall", "roof", "roof", "yard", "yard"])
    settings = dataclasses.replace(
        places.settings, batches="places", images_per_place=4, tuples_per_step=3, database_queries=True
    )
    places = dataclasses.replace(places, settings=settings)
    ids, images = mined(places, extractor)
    place = np.tile(np.arange(6) // 2, 2)
    np.testing.assert_array_equal(place[images], np.repeat(place[ids][:, None], 3, axis=1))
    shown = np.sort(np.concatenate([ids[:, None], images], axis=1))
    assert (np.diff(shown) > 0).all(), "a place has two photos on each side, and all of them are taken"
    order = places.tuple_source().queries_of(1)
    batches = place[places.tuple_source().queries[order]].reshape(-1, 3)
    assert len(batches) == 4
    assert (np.sort(batches) == [0, 1, 2]).all()


def test_too_few_places_apart_among_the_queries_of_a_refresh_are_told(places, extractor):
    places = named_places(places, ["hall", "hall", "roof", "roof", "yard", "yard"])
    settings = dataclasses.replace(places.settings, batches="places", mining="full", tuples_per_step=4)
    refresher = CacheRefresher(dataclasses.replace(places, settings=settings), extractor, extractor.workers)
    with pytest.raises(
        ValueError, match="raise `refresh_every` or lower it. Received: tuples_per_step=4, of 4 queries"
    ):
        refresher.mine(refresher.windows(1)[0], 1, StageTimer())


def test_another_timestamp_is_asked_of_mining_and_validation(places, extractor):
    times = np.array([1, 2, 1, 2, 1, 2])
    dataset = places.dataset
    queries = dataclasses.replace(dataset.queries, timestamps=times)
    database = dataclasses.replace(dataset.database, timestamps=np.array([1, 1, 1, 1, 2, 1]))
    dataset = dataclasses.replace(dataset, queries=queries, database=database, other_timestamps=True)
    places = dataclasses.replace(places, dataset=dataset)
    source = places.tuple_source()
    assert source.miner.trainable_queries.tolist() == [1, 3, 4, 5]
    assert [row.tolist() for row in source.miner.non_negatives] == [[i] for i in range(6)]
    assert RecallValidation(places).positives.counts.tolist() == [0, 1, 0, 1, 1, 1]
    measured = RecallValidation(places).measure(extractor, Workers(tf.distribute.get_strategy()))
    assert (measured.protocol, measured.queries_without_positive) == ("recall@N within 25 m, of another timestamp", 2)


def test_fingerprint_tells_what_positives_depend_on(places):
    timed = [
        dataclasses.replace(side, timestamps=np.arange(6)) for side in (places.dataset.database, places.dataset.queries)
    ]

    def fingerprint(**changed):
        return dataclasses.replace(places, dataset=dataclasses.replace(places.dataset, **changed)).fingerprint

    unused = fingerprint(database=timed[0], queries=timed[1])
    used = fingerprint(database=timed[0], queries=timed[1], other_timestamps=True)
    named = [named_places(places, names).fingerprint for names in (["a", "b", "c"] * 2, ["a", "c", "b"] * 2)]
    assert unused == places.fingerprint
    assert len({unused, used, *named}) == 4


def test_replicas_share_the_images(places, extractor, mirrored):
    shared = places.extract_all(make_extractor(mirrored))
    for a, b in zip(shared, places.extract_all(extractor), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_descriptors_beyond_the_memory_limit_go_to_a_file(places, extractor):
    small = dataclasses.replace(places, settings=dataclasses.replace(places.settings, memory_limit=10))
    database = small.extract(extractor, np.arange(6), "database")
    assert isinstance(database, np.memmap)
    np.testing.assert_array_equal(database, places.extract(extractor, np.arange(6), "database"))
