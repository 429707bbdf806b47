from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import load_image
from keras_sare.extraction.activation_maps import ActivationMaps, write_activation_maps
from keras_sare.layers import MAC

SIZES = [(60, 80), (80, 60), (40, 50), (80, 60), (60, 80)]


@pytest.fixture(scope="module")
def model():
    images = keras.Input((None, None, 3))
    return keras.Model(images, MAC()(keras.layers.Conv2D(6, 4, 4, activation="relu", name="last")(images)))


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{i}.png") for i in range(len(SIZES))]
    for path, size in zip(paths, SIZES, strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return paths


def expected_maps(model, paths, size=48):
    trunk = keras.Model(model.input, model.get_layer("last").output)
    return [trunk(load_image(path, size)[None]).numpy()[0] for path in paths]


def to_bytes(maps):
    return np.minimum(maps, 255).astype("uint8")


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_maps_are_those_of_the_images_in_their_order(model, paths, tmp_path, batch_size):
    maps = write_activation_maps(model, paths, tmp_path / "maps", longer_side=48, batch_size=batch_size)
    assert (len(maps), maps.dtype) == (5, np.float32)
    for found, shape, expected in zip(maps, maps.shapes, expected_maps(model, paths), strict=True):
        assert tuple(shape) == found.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_maps_are_stored_as_they_are_quantised(model, paths, tmp_path):
    maps = write_activation_maps(model, paths, tmp_path / "maps", longer_side=48, quantise=to_bytes)
    assert maps.dtype == np.uint8
    assert (tmp_path / "maps" / "maps.bin").stat().st_size == maps.shapes.prod(axis=1).sum()
    for found, expected in zip(maps, expected_maps(model, paths), strict=True):
        # Convolutions differ in the last bits between batches, which may cross a whole number.
        assert np.abs(found.astype(int) - to_bytes(expected)).max() <= 1


def test_maps_are_opened_again(model, paths, tmp_path):
    written = write_activation_maps(model, paths, tmp_path / "maps", longer_side=48)
    opened = ActivationMaps(tmp_path / "maps")
    assert opened.dtype == written.dtype
    np.testing.assert_array_equal(opened.shapes, written.shapes)
    np.testing.assert_array_equal(opened[-1], written[4])
    assert [each.shape for each in opened[1:3]] == [tuple(shape) for shape in written.shapes[1:3]]
    with pytest.raises(IndexError):
        opened[5]


def test_half_precision_models_give_floats(paths, tmp_path):
    images = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(6, 4, 4, dtype="mixed_bfloat16")
    maps = write_activation_maps(keras.Model(images, MAC()(layer(images))), paths, tmp_path / "maps", longer_side=48)
    assert maps.dtype == np.float32


def test_a_folder_that_exists_is_left_alone(model, paths, tmp_path):
    with pytest.raises(
        ValueError, match=r"`folder` must not exist: open what it holds with `ActivationMaps\(folder\)`"
    ):
        write_activation_maps(model, paths, tmp_path)


def test_nothing_is_left_of_maps_that_could_not_be_finished(model, paths, tmp_path):
    Path(paths[4]).write_bytes(b"no image")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Cannot read image .*4.png"):
        write_activation_maps(model, paths, tmp_path / "new" / "maps", longer_side=48)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_of_other_things_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`folder` must be one that `write_activation_maps` made. Received: folder="):
        ActivationMaps(tmp_path)


def test_no_images_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="`paths` must hold at least one image"):
        write_activation_maps(model, [], tmp_path / "maps")
