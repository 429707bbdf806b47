import runpy
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.extraction import Extractor
from keras_sare.layers import MAC, GeM, Whitening
from keras_sare.models.multi_scale import SCALES, SMALLEST_SIDE, MultiScale, resized, scale_power

DATA = Path(__file__).parents[1] / "data"
oracle = SimpleNamespace(**runpy.run_path(str(DATA / "make_multi_scale_oracle.py")))


def small_model(pooling, kernel=None):
    images = keras.Input((None, None, 3))
    convolution = keras.layers.Conv2D(oracle.CHANNELS, 3, 2, activation="relu", use_bias=False)
    model = keras.Model(images, pooling(convolution(images)))
    convolution.set_weights([oracle.inputs()[1] if kernel is None else kernel])
    return model


def images_of(height, width, count=1):
    return np.random.default_rng(height + width).uniform(0, 255, (count, height, width, 3)).astype("float32")


def naive_resize(image, height, width):
    """Bilinear with half-pixel centres, pixel by pixel."""
    old_height, old_width, _ = image.shape
    out = np.empty((height, width, 3))
    for row in range(height):
        y = np.clip((row + 0.5) * old_height / height - 0.5, 0, old_height - 1)
        for column in range(width):
            x = np.clip((column + 0.5) * old_width / width - 0.5, 0, old_width - 1)
            top = int(y)
            left = int(x)
            bottom = min(top + 1, old_height - 1)
            right = min(left + 1, old_width - 1)
            upper = image[top, left] * (1 - x % 1) + image[top, right] * (x % 1)
            lower = image[bottom, left] * (1 - x % 1) + image[bottom, right] * (x % 1)
            out[row, column] = upper * (1 - y % 1) + lower * (y % 1)
    return out


def test_it_is_called_and_extracted_like_a_model():
    multi = MultiScale(small_model(MAC()), SCALES["multi"])
    images = images_of(128, 130, 3)
    descriptors = Extractor(multi)([([2, 0], images[[2, 0]]), ([1], images[[1]])], 3)
    assert descriptors.shape == (3, oracle.CHANNELS)
    np.testing.assert_allclose(descriptors, multi(images), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-6)


def test_one_graph_serves_images_of_every_size():
    traces = []
    multi = MultiScale(lambda x, training: traces.append(0) or tf.reduce_max(x, axis=(1, 2)), (0.5,))
    call = tf.function(multi, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for size in ((128, 200), (300, 70), (20, 20)):
        np.testing.assert_allclose(call(images_of(*size)), multi(images_of(*size)), atol=1e-6)
    assert len(traces) == 1 + 3


@pytest.mark.parametrize(("power", "expected"), [(1.0, [2.0, 4.0, 0.0]), (2.0, [6.0**0.5, 18.0**0.5, 0.0])])
def test_the_generalised_mean_is_taken_entry_by_entry(power, expected):
    descriptors = iter([[[1.0, 5.0, 0.0]], [[1.0, 2.0, 0.0]], [[4.0, 5.0, 0.0]]])
    multi = MultiScale(lambda x, training: tf.constant(next(descriptors)), (1, 0.5, 2), power)
    np.testing.assert_allclose(multi(images_of(8, 8))[0], expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize("name", oracle.SCALES)
@pytest.mark.parametrize(("pooling", "power"), [("mac", 1.0), ("gem", oracle.POWER)])
def test_descriptors_are_those_of_the_public_code(name, pooling, power):
    model = small_model(MAC() if pooling == "mac" else GeM(p=oracle.POWER))
    multi = MultiScale(model, oracle.SCALES[name], power)
    with np.load(DATA / "multi_scale_oracle.npz") as expected:
        for image in oracle.inputs()[0]:
            stored = expected[f"{pooling}/{name}/{image.shape[0]}x{image.shape[1]}"]
            np.testing.assert_allclose(multi(image[None])[0], stored, atol=1e-6)


@pytest.mark.parametrize(("scale", "size"), [(0.5, (70, 80)), (2**-0.5, (99, 113)), (2**0.5, (199, 227))])
def test_images_are_resized_bilinearly_without_antialiasing(scale, size):
    images = images_of(141, 161)
    np.testing.assert_allclose(resized(images, scale)[0], naive_resize(images[0], *size), atol=1e-2)


def test_whole_numbers_are_resized_like_floating_ones():
    images = images_of(141, 161).astype("uint8")
    np.testing.assert_array_equal(resized(images, 0.5), resized(images.astype("float32"), 0.5))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((200, 100), (128, 64)),
        ((128, 128), (64, 64)),
        ((64, 300), (64, 300)),
        ((40, 30), (40, 30)),
        ((90, 700), (64, 497)),
    ],
)
def test_shrinking_leaves_64_pixels_of_each_side(size, expected):
    assert SMALLEST_SIDE == 64
    assert resized(images_of(*size), 0.5).shape == (1, *expected, 3)


def test_what_comes_with_the_images_is_passed_on():
    multi = MultiScale(lambda x, training: x[1] * float(x[0].shape[1]), (1, 0.5))
    np.testing.assert_allclose(multi((images_of(200, 200), tf.constant([[3.0, 4.0]]))), [[0.6, 0.8]], atol=1e-6)


def test_one_scale_of_one_is_the_model_itself():
    model = small_model(MAC())
    images = images_of(70, 90, 2)
    np.testing.assert_allclose(MultiScale(model, SCALES["single"])(images), model(images), atol=1e-6)


def test_the_named_scales_are_those_of_the_papers():
    assert SCALES["multi"] == pytest.approx((1, 1 / 2 ** (1 / 2), 1 / 2))
    assert SCALES["whitened"] == pytest.approx((1, 2 ** (1 / 2), 1 / 2 ** (1 / 2)))


def test_the_published_power_is_gems_exponent_unless_something_projects():
    gem = small_model(GeM(p=2.5))
    assert scale_power(gem) == 2.5
    assert scale_power(keras.Model(gem.input, Whitening(2, end_to_end=True)(gem.output))) == 1
    assert scale_power(small_model(GeM(p=2.5, per_channel=True))) == 1
    assert scale_power(small_model(MAC())) == 1


def test_a_power_needs_descriptors_without_negative_entries():
    multi = MultiScale(lambda x, training: tf.constant([[-1.0, 1.0]]), (1, 0.5), power=3.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`power` must be 1 for descriptors with negative entries"):
        multi(images_of(8, 8))


@pytest.mark.parametrize("scales", [(), (1, 0), (1, -0.5)])
def test_scales_that_are_not_positive_are_refused(scales):
    with pytest.raises(ValueError, match="`scales` must be one or more factors greater than 0. Received: scales="):
        MultiScale(small_model(MAC()), scales)


@pytest.mark.parametrize("power", [0, -1, float("nan")])
def test_a_power_that_is_not_positive_is_refused(power):
    with pytest.raises(ValueError, match="`power` must be greater than 0. Received: power="):
        MultiScale(small_model(MAC()), power=power)
