"""AlexNet as torchvision has it. keras.applications does not have it."""

import keras
from keras import layers

from keras_sare.models.backbones.shared.backbone import Backbone, sequential_cuts

CONVOLUTIONS = ((64, 11, 2, True), (192, 5, 2, True), (384, 3, 1, False), (256, 3, 1, False), (256, 3, 1, True))
"""Filters, kernel size, padding, whether a 3x3 pooling of stride 2 follows."""


def alexnet(images: keras.KerasTensor) -> keras.Model:
    """torchvision's AlexNet (Krizhevsky, "One weird trick", 2014), without local response normalisation."""
    x = images
    for i, (filters, size, padding, pooled) in enumerate(CONVOLUTIONS, start=1):
        x = layers.ZeroPadding2D(padding, name=f"pad{i}")(x)
        x = layers.Conv2D(filters, size, strides=4 if i == 1 else 1, activation="relu", name=f"conv{i}")(x)
        if pooled:
            x = layers.MaxPooling2D(3, 2, name=f"pool{i}")(x)
    return keras.Model(keras.utils.get_source_inputs(images)[0], x)


BACKBONE = Backbone(
    paper="Krizhevsky, arXiv 1404.5997",
    network=alexnet,
    cuts=sequential_cuts("conv5", "pool5", 256),
    preprocessing="torch",
    file="weights='alexnet-owt-7be5be79.pth' (torchvision's file)",
)
