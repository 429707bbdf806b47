import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.distribution.workers import Workers
from keras_sare.extraction import Extractor, StoredInputs


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 255, (9, 12, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def make_model():
    """A smaller one than the other tests', the same at every call, under any strategy."""

    def make(strategy=None):
        keras.utils.set_random_seed(3)
        with (strategy or tf.distribute.get_strategy()).scope():
            inputs = keras.Input((12, 16, 3))
            x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(inputs))
            return keras.Model(inputs, keras.layers.UnitNormalization()(x))

    return make


@pytest.fixture(scope="module")
def expected(make_model, images):
    """What one device gives."""
    return Extractor(make_model())([(np.arange(9), images)], 9)


@pytest.fixture(scope="module")
def mirrored():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def test_one_device_is_the_extractor(make_model, images):
    model = make_model()
    inputs = StoredInputs(images)
    described = Extractor(model, tf.distribute.get_strategy()).extract(inputs, np.arange(9), 4)
    np.testing.assert_array_equal(described, Extractor(model)(inputs.batches(np.arange(9), 4), 9))
    assert described.dtype == np.float32


@pytest.mark.parametrize("batch_size", [1, 4], ids=lambda size: f"batches of {size}")
def test_replicas_give_what_one_device_gives_for_whole_and_uneven_batches(
    make_model, images, expected, mirrored, batch_size
):
    described = Extractor(make_model(mirrored), mirrored).extract(StoredInputs(images), np.arange(9), batch_size)
    np.testing.assert_allclose(described, expected, atol=1e-6)


def test_each_replica_computes_its_part_of_a_batch(make_model, images, mirrored):
    seen = []
    model = make_model(mirrored)
    call = model.layers[1].call

    def counting(inputs):
        tf.numpy_function(lambda n: seen.append(int(n)) or n, [tf.shape(inputs)[0]], tf.int32)
        return call(inputs)

    model.layers[1].call = counting
    Extractor(model, mirrored).extract(StoredInputs(images), np.arange(9), 4)
    assert sorted(seen) == [1, 1, 2, 2, 2, 2]


def test_model_made_outside_the_scope_is_described_too(make_model, images, expected, mirrored):
    described = Extractor(make_model(), mirrored).extract(StoredInputs(images), np.arange(9), 4)
    np.testing.assert_allclose(described, expected, atol=1e-6)


def test_rows_follow_the_order_of_the_ids(make_model, images, expected, mirrored):
    ids = np.array([7, 0, 3])
    described = Extractor(make_model(mirrored), mirrored).extract(StoredInputs(images), ids, 2)
    np.testing.assert_allclose(described, expected[ids], atol=1e-6)


def test_given_array_is_filled(make_model, images, expected):
    extractor = Extractor(make_model(), tf.distribute.get_strategy())
    out = np.empty((2, *extractor.output_shape), np.float32)
    assert extractor.extract(StoredInputs(images), np.arange(2), 4, out, "two") is out
    np.testing.assert_allclose(out, expected[:2], atol=1e-6)


def test_no_images_give_no_rows(make_model, images):
    extractor = Extractor(make_model(), tf.distribute.get_strategy())
    assert extractor.extract(StoredInputs(images), np.arange(0), 4).shape == (0, *extractor.output_shape)


def test_worker_computes_its_share_alone(make_model, images, expected, monkeypatch):
    """The others' rows stay as they are here, where no other worker sends any."""
    monkeypatch.setattr(Workers, "shard", lambda self, n: np.arange(n // 2, n))
    monkeypatch.setattr(Workers, "all_gather_into", lambda self, out: None)
    extractor = Extractor(make_model(), tf.distribute.get_strategy())
    out = np.zeros((9, *extractor.output_shape), np.float32)
    extractor.extract(StoredInputs(images), np.arange(9), 4, out)
    assert not out[:4].any()
    np.testing.assert_allclose(out[4:], expected[4:], atol=1e-6)
