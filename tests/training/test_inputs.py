import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import load_image
from keras_sare.models import split
from keras_sare.training import ImageInputs, StoredInputs, store_trunk
from keras_sare.training.inputs import stored_bytes


@pytest.fixture
def images(make_places):
    return make_places("train", 5, seed=0).inputs


def test_gather_reads_the_asked_images_in_order(images):
    dataset = tf.data.Dataset.from_tensors(np.array([3, 0, 3])).map(images.gather)
    expected = [load_image(images.paths[i], images.size) for i in (3, 0, 3)]
    np.testing.assert_array_equal(next(dataset.as_numpy_iterator()), np.stack(expected))


def test_batches_name_the_position_of_each_image(images):
    ids = np.array([4, 2, 0])
    for positions, pixels in images.batches(ids, 2).as_numpy_iterator():
        for position, image in zip(positions, pixels, strict=True):
            np.testing.assert_array_equal(image, load_image(images.paths[ids[position]], images.size))


def test_stored_rows_are_gathered_and_batched_like_images():
    array = np.arange(24, dtype="float16").reshape(4, 2, 3)
    stored = StoredInputs(array)
    dataset = tf.data.Dataset.from_tensors(np.array([3, 1])).map(stored.gather)
    np.testing.assert_array_equal(next(dataset.as_numpy_iterator()), array[[3, 1]])
    batches = list(stored.batches(np.array([2, 0, 3]), 2).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([p for p, _ in batches]), [0, 1, 2])
    np.testing.assert_array_equal(np.concatenate([x for _, x in batches]), array[[2, 0, 3]])


def test_head_on_the_stored_trunk_gives_the_models_descriptors(images, make_model, tmp_path):
    model = make_model()
    trunk, head = split(model, "conv2")
    stored = store_trunk(tmp_path / "store", trunk, images, 2)
    pixels = images.gather(tf.range(len(images.paths)))
    np.testing.assert_allclose(head(np.asarray(stored.array)), model(pixels), atol=2e-3)  # float16 maps
    [file] = (tmp_path / "store").iterdir()
    assert file.stat().st_size == pytest.approx(stored_bytes(trunk, images), abs=200)


def test_store_is_reused_until_weights_size_or_files_change(images, make_model, tmp_path):
    trunk, _ = split(make_model(), "conv2")
    store_trunk(tmp_path, trunk, images, 2)
    [file] = tmp_path.glob("trunk-*.npy")
    before = file.stat().st_mtime_ns
    store_trunk(tmp_path, trunk, images, 2)
    assert file.stat().st_mtime_ns == before
    store_trunk(tmp_path, trunk, ImageInputs(images.paths, (20, 24)), 2)
    assert len(list(tmp_path.glob("trunk-*.npy"))) == 2
    trunk.get_layer("conv1").bias.assign_add(np.ones(8))
    store_trunk(tmp_path, trunk, images, 2)
    assert len(list(tmp_path.glob("trunk-*.npy"))) == 3


def test_maps_too_large_for_float16_are_refused_and_leave_nothing(images, tmp_path):
    inputs = keras.Input((None, None, 3))
    trunk = keras.Model(inputs, keras.layers.Rescaling(1e4)(inputs))
    with pytest.raises(ValueError, match="of image 0 does not fit float16"):
        store_trunk(tmp_path / "store", trunk, images, 2)
    assert list((tmp_path / "store").iterdir()) == []
