import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import LandmarkDataset
from keras_sare.extraction.landmark_objects import query_objects
from keras_sare.layers import MAC
from keras_sare.retrieval.reranking.box_descriptor import BoxDescriptor

BOXES = np.array([[0, 0, 64, 48], [16, 8, 48, 40], [32, 0, 64, 48]], float)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(2)
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(5, 8, strides=8, activation="relu")(keras.layers.Rescaling(1 / 127.5, -1)(images))
    return keras.Model(images, MAC()(features))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    rng = np.random.default_rng(0)
    paths = [str(tmp_path_factory.mktemp("photos") / f"{i}.png") for i in range(3)]
    pixels = rng.integers(0, 255, (3, 48, 64, 3)).astype("uint8")
    for path, photo in zip(paths, pixels, strict=True):
        Image.fromarray(photo).save(path)
    return paths, pixels


def dataset(paths, boxes=None):
    return LandmarkDataset("toy", paths, paths, boxes, tuple({"ok": np.array([i])} for i in range(len(paths))))


def test_objects_are_the_crops_maxima_descriptors_and_aspects_in_the_queries_order(model, photos):
    paths, pixels = photos
    describe = BoxDescriptor(levels=2)
    objects = query_objects(model, dataset(paths, BOXES), describe)

    np.testing.assert_allclose(objects.aspects, [48 / 64, 1, 48 / 32])
    trunk = keras.Model(model.input, model.layers[-2].output)
    for i, (x1, y1, x2, y2) in enumerate(BOXES.astype(int).tolist()):
        [features] = trunk(pixels[i : i + 1, y1:y2, x1:x2].astype("float32")).numpy()
        np.testing.assert_allclose(objects.maxima[i], features.max(axis=(0, 1)), rtol=1e-5)
        [expected] = describe(features, np.array([[0, 0, *features.shape[:2]]]))
        np.testing.assert_allclose(objects.descriptors[i], expected, rtol=1e-5, atol=1e-6)


def test_queries_without_boxes_are_taken_whole(model, photos):
    paths, _ = photos
    whole = query_objects(model, dataset(paths), BoxDescriptor())
    boxed = query_objects(model, dataset(paths, np.tile(BOXES[0], (3, 1))), BoxDescriptor())
    np.testing.assert_array_equal(whole.maxima, boxed.maxima)
    np.testing.assert_array_equal(whole.aspects, [0.75] * 3)


def test_feature_maps_are_cropped_to_boxes_where_asked_for(model, photos):
    paths, pixels = photos
    objects = query_objects(model, dataset(paths, BOXES), BoxDescriptor(), crop="activations")

    np.testing.assert_allclose(objects.aspects, [48 / 64, 1, 48 / 32])
    features = keras.Model(model.input, model.layers[-2].output)(pixels.astype("float32")).numpy()
    for i, (x1, y1, x2, y2) in enumerate((BOXES.astype(int) // 8).tolist()):  # cells of 8 pixels
        np.testing.assert_allclose(objects.maxima[i], features[i, y1:y2, x1:x2].max(axis=(0, 1)), rtol=1e-5)


def test_boxes_do_nothing_where_queries_stay_whole(model, photos):
    whole = query_objects(model, dataset(photos[0]), BoxDescriptor())
    uncropped = query_objects(model, dataset(photos[0], BOXES), BoxDescriptor(), crop="none")
    np.testing.assert_array_equal(whole.descriptors, uncropped.descriptors)
    np.testing.assert_array_equal(whole.aspects, uncropped.aspects)


def test_descriptors_are_whitened_where_those_of_boxes_are(model, photos):
    projection = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")

    def whiten(rows):
        projected = rows @ projection
        return projected / np.linalg.norm(projected, axis=1, keepdims=True)

    objects = query_objects(model, dataset(photos[0]), BoxDescriptor(whiten=whiten))
    assert objects.descriptors.shape == (3, 3)
    assert objects.maxima.shape == (3, 5)


def test_large_photos_are_reduced_and_crops_with_them(model, photos):
    halved = query_objects(model, dataset(photos[0], BOXES), BoxDescriptor(), longer_side=32)
    np.testing.assert_allclose(halved.aspects, [0.75, 1, 1.5])
    full = query_objects(model, dataset(photos[0], BOXES), BoxDescriptor())
    assert not np.allclose(halved.maxima, full.maxima)


def test_a_box_too_small_for_the_model_is_named(photos):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, MAC()(keras.layers.MaxPooling2D(8)(images)))
    boxes = BOXES.copy()
    boxes[1] = [0, 0, 20, 5]
    with pytest.raises(
        ValueError, match=r"Cannot extract the 5 x 20 pixels of .*1\.png in its box: .* at least 8 on each side"
    ):
        query_objects(model, dataset(photos[0], boxes), BoxDescriptor())


def test_model_without_a_feature_map_is_refused(photos):
    images = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="`model` must have a pooling layer"):
        query_objects(
            keras.Model(images, keras.layers.GlobalMaxPooling2D()(images)), dataset(photos[0]), BoxDescriptor()
        )
