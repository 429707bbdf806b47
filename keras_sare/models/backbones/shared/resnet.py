"""ResNet as torchvision has it, under the layer names of keras.applications."""

from collections.abc import Sequence

import keras
from keras import layers

EPSILON = 1e-5
"""Of torchvision's batch normalisation."""


def resnet(images: keras.KerasTensor, blocks: Sequence[int]) -> keras.Model:
    """torchvision's ResNet with bottleneck blocks ("v1.5"), up to the last feature map.

    keras.applications' ResNet is He's original: the first convolution of a stage has the stride, convolutions have a
    bias and batch normalisation an epsilon of 1.001e-5. torchvision has the stride in the 3x3 convolution. Weights of
    one do not fit the other.

    Args:
        images: prepared images [batch, height, width, 3].
        blocks: number of blocks of each stage, (3, 4, 6, 3) for ResNet-50.

    Returns:
        Model without trained weights; layers conv1_conv, conv2_block1_1_conv .. conv5_block3_out.
    """
    x = _convolution(images, "conv1", 64, size=7, stride=2, padding=3)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for stage, count in enumerate(blocks, start=2):
        for i in range(1, count + 1):
            stride = 2 if i == 1 and stage > 2 else 1
            x = _block(x, f"conv{stage}_block{i}", 32 * 2 ** (stage - 1), stride, shortcut=i == 1)
    return keras.Model(keras.utils.get_source_inputs(images)[0], x)


def _block(x: keras.KerasTensor, name: str, filters: int, stride: int, shortcut: bool) -> keras.KerasTensor:
    y = layers.Activation("relu", name=f"{name}_1_relu")(_convolution(x, f"{name}_1", filters))
    y = _convolution(y, f"{name}_2", filters, size=3, stride=stride, padding=1)
    y = _convolution(layers.Activation("relu", name=f"{name}_2_relu")(y), f"{name}_3", 4 * filters)
    if shortcut:
        x = _convolution(x, f"{name}_0", 4 * filters, stride=stride)
    return layers.Activation("relu", name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))


def _convolution(
    x: keras.KerasTensor, name: str, filters: int, size: int = 1, stride: int = 1, padding: int = 0
) -> keras.KerasTensor:
    if padding:
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    x = layers.Conv2D(filters, size, stride, use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
