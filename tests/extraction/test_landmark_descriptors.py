import logging
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import load_image
from keras_sare.datasets.landmarks.landmark_dataset import LandmarkDataset
from keras_sare.extraction.landmark_descriptors import extract_images, extract_landmarks
from keras_sare.layers import MAC, Whitening
from keras_sare.models.crop_activations import crop_features, split_at_pooling
from keras_sare.models.multi_scale import MultiScale

SIZES = [(160, 200), (200, 160), (90, 100), (200, 200), (160, 200)]
BOXES = np.array([[20.0, 30, 150, 120], [0, 0, 80, 199]])


@pytest.fixture(scope="module")
def model():
    """A whitened network of stride 4."""
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(6, 2, 2, activation="relu")(images)
    maps = keras.layers.Conv2D(8, 2, 2, activation="relu")(maps)
    return keras.Model(images, Whitening(5, end_to_end=True)(MAC()(maps)))


@pytest.fixture
def dataset(tmp_path):
    """Five images; the first two are the queries too."""
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{i}.jpg") for i in range(len(SIZES))]
    for path, size in zip(paths, SIZES, strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return LandmarkDataset("five", paths, paths[:2], BOXES, ({"ok": [4], "junk": [0]}, {"ok": [3], "junk": [1]}))


def one_by_one(model, paths, size=100, boxes=None):
    boxes = [None] * len(paths) if boxes is None else boxes
    pairs = zip(paths, boxes, strict=True)
    return np.concatenate([model(load_image(path, size, box)[None]) for path, box in pairs])


@pytest.mark.parametrize(("scales", "power"), [((1.0,), 1.0), ((1, 0.5), 1.0)])
def test_descriptors_are_those_of_the_images_one_by_one(model, dataset, tmp_path, scales, power):
    queries, database = extract_landmarks(
        model, dataset, longer_side=150, scales=scales, power=power, batch_size=2, folder=tmp_path
    )
    multi = MultiScale(model, scales, power)
    assert (queries.dtype, queries.shape, database.shape) == (np.float32, (2, 5), (5, 5))
    np.testing.assert_allclose(queries, one_by_one(multi, dataset.queries, 150, BOXES), atol=1e-5)
    np.testing.assert_allclose(database, one_by_one(multi, dataset.database, 150), atol=1e-5)


def test_images_of_no_dataset_are_described_like_a_database(model, dataset, tmp_path):
    settings = {"longer_side": 150, "scales": (1, 0.5), "folder": tmp_path}
    descriptors = extract_images(model, dataset.database[1:], "others", **settings)
    np.testing.assert_allclose(descriptors, extract_landmarks(model, dataset, **settings)[1][1:], atol=1e-5)


def test_queries_may_stay_whole(model, dataset, tmp_path):
    queries, database = extract_landmarks(model, dataset, longer_side=100, crop="none", folder=tmp_path)
    np.testing.assert_allclose(queries, database[:2], atol=1e-6)


@pytest.mark.parametrize("crop", ["image", "activations"])
def test_queries_without_boxes_stay_whole(model, dataset, tmp_path, crop):
    whole = LandmarkDataset("five", dataset.database, dataset.queries, None, dataset.labels)
    queries, database = extract_landmarks(model, whole, longer_side=100, crop=crop, folder=tmp_path)
    np.testing.assert_allclose(queries, database[:2], atol=1e-6)


def test_activations_are_cropped_to_the_scaled_box(model, dataset, tmp_path):
    queries, _ = extract_landmarks(model, dataset, longer_side=100, crop="activations", folder=tmp_path)
    trunk, head = split_at_pooling(model)
    for query, path, box in zip(queries, dataset.queries, BOXES, strict=True):
        # Every image is scaled by a half.
        cropped = crop_features(trunk(load_image(path, 100)[None])[0], box / 2, 4)
        np.testing.assert_allclose(query, head(cropped[None])[0], atol=1e-5)


def test_activations_are_cropped_at_several_scales(model, dataset, tmp_path):
    whole = LandmarkDataset(
        "five", dataset.database, dataset.queries, [[0, 0, 200, 160], [0, 0, 160, 200]], dataset.labels
    )
    queries, database = extract_landmarks(
        model, whole, longer_side=170, scales=(1, 0.5), crop="activations", folder=tmp_path
    )
    np.testing.assert_allclose(queries, database[:2], atol=1e-5)


def test_arrays_beyond_the_memory_limit_are_memory_maps_that_leave_nothing(model, dataset, tmp_path):
    folder = tmp_path / "arrays"
    queries, database = extract_landmarks(model, dataset, longer_side=100, folder=folder, memory_limit=4 * 5 * 4)
    assert not isinstance(queries, np.memmap)
    assert isinstance(database, np.memmap)
    assert list(folder.iterdir()) == []
    np.testing.assert_allclose(database, one_by_one(model, dataset.database), atol=1e-5)


def test_bars_name_the_dataset(model, dataset, tmp_path, capsys, caplog):
    with caplog.at_level(logging.INFO, logger="keras_sare"):
        extract_landmarks(model, dataset, longer_side=100, folder=tmp_path)
    shown = capsys.readouterr().err
    assert "five, queries" in shown
    assert "five, database" in shown


def test_an_unknown_crop_is_refused(model, dataset, tmp_path):
    with pytest.raises(ValueError, match="`crop` must be one of .* Received: crop='I'"):
        extract_landmarks(model, dataset, crop="I", folder=tmp_path)


def test_a_broken_image_is_named(model, dataset, tmp_path):
    Path(dataset.database[3]).write_bytes(b"no image")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Cannot read image .*3.jpg: not a JPEG"):
        extract_landmarks(model, dataset, longer_side=100, folder=tmp_path)


def test_an_image_whose_descriptor_is_not_finite_is_named(dataset, tmp_path):
    images = keras.Input((None, None, 3))
    # Black images alone have an infinite logarithm.
    model = keras.Model(images, MAC()(keras.ops.log(images)))
    Image.new("RGB", (50, 40)).save(dataset.database[2])
    with pytest.raises(ValueError, match=r"Cannot extract \S*2.jpg: The model must give finite outputs"):
        extract_landmarks(model, dataset, longer_side=200, crop="none", folder=tmp_path)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
def test_an_image_too_small_for_the_model_is_named(scales, dataset, tmp_path):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, MAC()(keras.layers.MaxPooling2D(41)(images)))
    Image.new("RGB", (50, 40), "white").save(dataset.database[2])
    with pytest.raises(ValueError, match=r"Cannot extract \S*2.jpg: .* at least 41 pixels .*50 x 40 pixels"):
        extract_landmarks(model, dataset, longer_side=200, scales=scales, crop="none", folder=tmp_path)
