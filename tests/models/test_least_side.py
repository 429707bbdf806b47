"""Images of the least side give descriptors, smaller ones do not, for every backbone."""

import keras
import numpy as np
import pytest

from keras_sare.extraction import Extractor
from keras_sare.models import build
from keras_sare.models.least_side import least_side

EXPECTED = {
    "vgg16_netvlad": 16,
    "vgg16_rmac": 16,
    "alexnet_gem": 31,
    "resnet50_gem": 1,
    "mobilenet_v3_gem": 31,
    "efficientnet_v2_b0_gem": 1,
    "efficientnet_lite0_gem": 1,
    "convnext_tiny_gem": 32,
}
PADDED = ("efficientnet_v2_b0_gem", "efficientnet_lite0_gem")
"""Their convolutions pad as those of resnet50 do."""


def extract(extractor, height, width):
    images = np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype("float32")
    return extractor([(np.array([0]), images)], 1)


@pytest.mark.parametrize(
    "preset", [pytest.param(preset, marks=pytest.mark.slow) if preset in PADDED else preset for preset in EXPECTED]
)
def test_images_of_the_least_side_have_descriptors_and_smaller_ones_are_named(preset):
    model = build(preset, weights=None)
    least = least_side(model)
    assert least == EXPECTED[preset]
    extractor = Extractor(model)
    for size in ((least, 70), (70, least), (least, least)):
        np.testing.assert_allclose(np.linalg.norm(extract(extractor, *size)), 1, atol=2e-3)
    if least > 1:
        with pytest.raises(
            ValueError, match=f"at least {least} pixels on each side .* image 0 of 70 x {least - 1} pixels"
        ):
            extract(extractor, least - 1, 70)


@pytest.mark.parametrize("pooling", ["mac", "gem", "spoc", "crow", "rmac", "netvlad"])
def test_the_least_side_is_that_of_the_network_up_to_the_maps_that_are_pooled(pooling):
    # CroW pools the maps after one more halving.
    assert least_side(build(f"vgg16_{pooling}", weights=None)) == (32 if pooling == "crow" else 16)


def test_a_model_of_one_size_takes_that_size_only():
    images = keras.Input((8, 8, 3))
    assert least_side(keras.Model(images, keras.layers.Conv2D(2, 3)(images))) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "1 other outputs, of images .7."), (np.nan, "of images .7."), (np.inf, "of images")]
)
def test_outputs_that_are_no_descriptors_are_never_returned(value, text):
    inputs = keras.Input((2,))
    extract = Extractor(keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs)))
    batch = np.array([4, 7]), np.array([[1, 2], [value, value]], np.float32)
    with pytest.raises(ValueError, match=text):
        extract([batch], 8)
