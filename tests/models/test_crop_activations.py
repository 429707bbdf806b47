import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.extraction import Extractor
from keras_sare.layers import MAC, RMAC, Whitening
from keras_sare.models import build
from keras_sare.models.crop_activations import CropActivations, crop_features, split_at_pooling, stride
from keras_sare.models.multi_scale import MultiScale


def small_model(pooling):
    """A network of stride 4."""
    images = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(6, 2, 2, activation="relu")(images)
    maps = keras.layers.Conv2D(8, 2, 2, activation="relu", name="last")(maps)
    return keras.Model(images, Whitening(5, end_to_end=True)(pooling(maps)))


def images_of(height, width, count=1):
    return np.random.default_rng(height).uniform(0, 255, (count, height, width, 3)).astype("float32")


def naive_cells(size, low, high, cell):
    inside = [i for i in range(size) if low <= (i + 0.5) * cell < high]
    return inside or [min(max(int((low + high) / 2 // cell), 0), size - 1)]


def test_the_cells_kept_are_those_centred_in_the_box():
    features = tf.reshape(tf.range(7 * 9), [7, 9, 1])
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(-20, 170, (200, 2, 2)), axis=1)
    # Edges on centres, boxes between two centres, and boxes beside the map.
    special = [(8, 8, 24, 40), (9, 9, 20, 20), (0, 0, 1, 1), (150, 120, 160, 130), (-9, -9, -1, -1)]
    for x1, y1, x2, y2 in [*corners.reshape(-1, 4).tolist(), *special]:
        rows = naive_cells(7, y1, y2, 16)
        columns = naive_cells(9, x1, x2, 16)
        expected = np.arange(63).reshape(7, 9)[np.ix_(rows, columns)]
        np.testing.assert_array_equal(crop_features(features, [x1, y1, x2, y2], 16)[..., 0], expected)


@pytest.mark.parametrize("pooling", [MAC, RMAC])
def test_a_box_is_described_by_the_head_on_the_cropped_map(pooling):
    model = small_model(pooling())
    trunk, head = split_at_pooling(model)
    images = images_of(48, 80, 2)
    boxes = np.array([[16.0, 8, 56, 40], [0, 0, 80, 24]])
    features = trunk(images)
    expected = [head(features[0:1, 2:10, 4:14])[0], head(features[1:2, 0:6, 0:20])[0]]
    np.testing.assert_allclose(CropActivations(model)((images, boxes / [80, 48, 80, 48])), expected, atol=1e-6)


def test_the_whole_image_as_box_gives_the_descriptor_of_the_model():
    model = small_model(MAC())
    images = images_of(50, 70, 3)
    np.testing.assert_allclose(
        CropActivations(model)((images, np.tile([0, 0, 1, 1], (3, 1)))), model(images), atol=1e-6
    )


def test_it_is_extracted_at_several_scales():
    model = small_model(MAC())
    crop = CropActivations(model)
    images = images_of(160, 200, 2)
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0.3, 0.0, 1.0, 0.4]])
    multi = MultiScale(crop, (1, 0.5))
    descriptors = Extractor(multi)([([0, 1], (images, boxes))], 2)
    half = tf.image.resize(images, (80, 100))
    expected = crop((images, boxes)).numpy() + crop((half, boxes)).numpy()
    np.testing.assert_allclose(descriptors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_one_graph_serves_every_size_and_box():
    crop = CropActivations(small_model(MAC()))
    signature = [(tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, 4]))]
    call = tf.function(crop, input_signature=signature)
    for height, width in ((40, 60), (32, 20)):
        inputs = (tf.constant(images_of(height, width)), tf.constant([[0.2, 0.1, 0.9, 0.8]]))
        np.testing.assert_allclose(call(inputs), crop(inputs), atol=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("vgg16_mac", 16), ("alexnet_mac", 16), ("alexnet_crow", 32)])
def test_the_stride_of_a_network_is_known(name, expected):
    assert stride(split_at_pooling(build(name, weights=None))[0]) == expected


def test_a_model_without_a_pooling_layer_is_refused():
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.GlobalMaxPooling2D()(images), name="plain")
    with pytest.raises(ValueError, match="`model` must have a pooling layer of `keras_sare.layers`.* model='plain'"):
        CropActivations(model)
