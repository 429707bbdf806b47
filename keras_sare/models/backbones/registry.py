"""Networks up to the layer that is pooled, under stable layer names."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_sare.models.backbones.dinov2 import dinov2
from keras_sare.models.backbones.efficientnet_lite import efficientnet_lite0
from keras_sare.models.backbones.resnet import resnet

PREPROCESSING: dict[str, dict[str, Any]] = {
    # keras.applications converted the original Caffe weights.
    "caffe": {"mean": (103.939, 116.779, 123.68), "std": (1.0, 1.0, 1.0), "bgr": True},
    # torchvision: RGB / 255, then mean and standard deviation of ImageNet; here in the unit 0..255.
    "torch": {"mean": (0.485 * 255, 0.456 * 255, 0.406 * 255), "std": (0.229 * 255, 0.224 * 255, 0.225 * 255)},
    # TensorFlow's own networks: RGB in -1..1.
    "tensorflow": {"mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)},
    # Whole numbers, for quantised networks: MEAN_RGB and STDDEV_RGB of its own code in TensorFlow. The example in the
    # PyTorch package that the weights come in is of another network and takes mean and deviation of ImageNet.
    "efficientnet_lite": {"mean": (127.0, 127.0, 127.0), "std": (128.0, 128.0, 128.0)},
}
"""What each family of weights wants: arguments of `ImagePreprocessing`."""


@dataclass(frozen=True)
class Backbone:
    """A network whose feature maps are pooled.

    Attributes:
        network: (prepared images) -> model from their source to the last feature map, under the layer names of
            keras.applications; `stable_names` gives those used here.
        preprocessing: key of `PREPROCESSING`, what the weights of keras.applications want.
        others: what further weights in circulation want that fit the same layers. Where there are any, a file alone
            does not say what its weights want.
        torchvision: `network` of torchvision's variant, where its weights need other layers.
    """

    network: Callable[[keras.KerasTensor], keras.Model]
    preprocessing: str
    others: tuple[str, ...] = ()
    torchvision: Callable[[keras.KerasTensor], keras.Model] | None = None


def stable_names(network: keras.Model) -> dict[str, str]:
    """New names of those layers of a network that need one, by their names in keras.applications.

    VGG16's layers are called as in the papers: conv1_1 to conv5_3, pool1 to pool5. Layers without a name are counted
    from the first of the network; Keras counts them from the first of the session.
    """
    names = {}
    for layer in network.layers:
        names[layer.name] = re.sub(
            r"^block(\d)_pool$", r"pool\1", re.sub(r"^block(\d)_conv(\d)$", r"conv\1_\2", layer.name)
        )
    for prefix in ("re_lu", "activation"):
        unnamed = [layer.name for layer in network.layers if re.fullmatch(rf"{prefix}(_\d+)?", layer.name)]
        names |= {name: f"{prefix}_{i}" if i else prefix for i, name in enumerate(unnamed)}
    return {old: new for old, new in names.items() if old != new}


def with_stable_names(network: keras.Model) -> keras.Model:
    """Copies a network, without its weights, under `stable_names`; returns it as it is where it has them already."""
    names = stable_names(network)
    return _clone(network, lambda layer: {"name": names.get(layer.name, layer.name)}) if names else network


def cut_network(network: keras.Model, cut: str, relu: bool) -> keras.Model:
    """Ends a network at a layer.

    Args:
        network: functional model.
        cut: name of the last layer that is kept.
        relu: whether the activation of that layer stays.

    Returns:
        Model with the same input; its layers are shared with `network` unless an activation had to be removed.

    Raises:
        ValueError: no such layer, or it has no activation that could be removed.
    """
    names = [layer.name for layer in network.layers[1:]]
    if cut not in names:
        raise ValueError(f"`cut` must be one of {', '.join(names)}. Received: cut={cut!r}")
    last = network.get_layer(cut)
    if relu:
        return keras.Model(network.inputs[0], last.output)
    if isinstance(last, layers.Activation | layers.ReLU):
        return keras.Model(network.inputs[0], last.input)
    if not hasattr(last, "activation"):
        raise ValueError(f"`relu` must be True where the layer has no activation to remove. Received: cut={cut!r}")
    linear = _clone(network, lambda layer: {"activation": "linear"} if layer is last else {})
    return keras.Model(linear.inputs[0], linear.get_layer(cut).output)


def _clone(network: keras.Model, change: Callable[[layers.Layer], dict[str, Any]]) -> keras.Model:
    """Copies a network without its weights; `change` gives what is new in a layer's configuration."""
    return keras.models.clone_model(
        network, clone_function=lambda layer: layer.__class__.from_config(layer.get_config() | change(layer))
    )


_OWN = {"include_preprocessing": False}
"""`ImagePreprocessing` does it here, so that the model says what its weights want."""


def _application(name: str, **settings: Any) -> Callable[[keras.KerasTensor], keras.Model]:
    def network(images: keras.KerasTensor) -> keras.Model:
        build = getattr(keras.applications, name)
        return build(include_top=False, weights=None, input_tensor=images, **settings)

    return network


def _alexnet(images: keras.KerasTensor) -> keras.Model:
    """torchvision's AlexNet (Krizhevsky, "One weird trick", 2014), without local response normalisation."""
    x = images
    # (filters, kernel size, padding, whether a 3x3 pooling of stride 2 follows)
    for i, (filters, size, padding, pooled) in enumerate(
        [(64, 11, 2, True), (192, 5, 2, True), (384, 3, 1, False), (256, 3, 1, False), (256, 3, 1, True)], start=1
    ):
        x = layers.ZeroPadding2D(padding, name=f"pad{i}")(x)
        x = layers.Conv2D(filters, size, strides=4 if i == 1 else 1, activation="relu", name=f"conv{i}")(x)
        if pooled:
            x = layers.MaxPooling2D(3, 2, name=f"pool{i}")(x)
    return keras.Model(keras.utils.get_source_inputs(images)[0], x)


def _convnext_tiny(images: keras.KerasTensor) -> keras.Model:
    network = _application("ConvNeXtTiny", **_OWN)(images)
    # A stage ends in a sum without a name. The normalisation at the very end is made for averaged features.
    stages = {2: network.get_layer("convnext_tiny_downsampling_block_2").input, 3: network.layers[-1].input}
    outputs = [layers.Identity(name=f"convnext_tiny_stage_{i}_out")(x) for i, x in stages.items()]
    return keras.Model(network.inputs[0], [*outputs, network.output])


BACKBONES = {
    "vgg16": Backbone(_application("VGG16"), "caffe", others=("torch",)),
    "alexnet": Backbone(_alexnet, "torch"),
    "resnet50": Backbone(_application("ResNet50"), "caffe", torchvision=lambda images: resnet(images, (3, 4, 6, 3))),
    "resnet101": Backbone(_application("ResNet101"), "caffe", torchvision=lambda images: resnet(images, (3, 4, 23, 3))),
    "mobilenet_v3": Backbone(_application("MobileNetV3Large", **_OWN), "tensorflow"),
    "efficientnet_v2_b0": Backbone(_application("EfficientNetV2B0", **_OWN), "torch"),
    "efficientnet_lite0": Backbone(efficientnet_lite0, "efficientnet_lite"),
    "convnext_tiny": Backbone(_convnext_tiny, "torch"),
    "dinov2": Backbone(dinov2, "torch"),
}
"""Networks by name."""
