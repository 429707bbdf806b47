"""Convolutional networks from keras.applications, cut where the papers cut them and with the papers' layer names."""

import re
from typing import Any

import keras

from keras_sare.layers import ImagePreprocessing

PREPROCESSING: dict[str, dict[str, Any]] = {
    # keras.applications converted the original Caffe weights.
    "caffe": {"mean": (103.939, 116.779, 123.68), "std": (1.0, 1.0, 1.0), "bgr": True},
    # torchvision: RGB / 255, then mean and standard deviation of ImageNet; here in the unit 0..255.
    "torch": {"mean": (0.485 * 255, 0.456 * 255, 0.406 * 255), "std": (0.229 * 255, 0.224 * 255, 0.225 * 255)},
}
"""What each family of weights wants: arguments of `ImagePreprocessing`."""


def vgg16_features(cut: str, relu: bool, preprocessing: str) -> keras.Model:
    """VGG16 from RGB images to the output of layer `cut`.

    Layers are called as in the papers: conv1_1 to conv5_3, pool1 to pool4.

    Args:
        cut: last layer.
        relu: whether the last layer keeps its ReLU.
        preprocessing: key of `PREPROCESSING`.

    Returns:
        Model without trained weights, input [batch, height, width, 3] RGB 0..255, any height and width from 16 up.
    """

    def renamed(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        config["name"] = re.sub(r"block(\d)_conv", r"conv\1_", re.sub(r"block(\d)_pool", r"pool\1", layer.name))
        if config["name"] == cut and not relu:
            config["activation"] = "linear"
        return layer.__class__.from_config(config)

    images = keras.Input((None, None, 3), name="images")
    prepared = ImagePreprocessing(**PREPROCESSING[preprocessing], name="preprocessing")(images)
    vgg16 = keras.applications.VGG16(include_top=False, weights=None, input_tensor=prepared)
    whole = keras.models.clone_model(vgg16, clone_function=renamed)
    return keras.Model(whole.inputs[0], whole.get_layer(cut).output)


BACKBONES = {"vgg16": vgg16_features}
"""Builders by name: (cut, relu, preprocessing) -> model."""
