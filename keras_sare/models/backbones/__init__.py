"""Networks up to the layer that is pooled: one file each, which says all there is to say of it."""

from keras_sare.models.backbones import (
    alexnet,
    convnext_tiny,
    dinov2,
    efficientnet_lite0,
    efficientnet_v2_b0,
    mobilenet_v3,
    resnet50,
    resnet101,
    vgg16,
)
from keras_sare.models.backbones.shared.backbone import PREPROCESSING, Backbone

BACKBONES = {
    "vgg16": vgg16.BACKBONE,
    "alexnet": alexnet.BACKBONE,
    "resnet50": resnet50.BACKBONE,
    "resnet101": resnet101.BACKBONE,
    "mobilenet_v3": mobilenet_v3.BACKBONE,
    "efficientnet_v2_b0": efficientnet_v2_b0.BACKBONE,
    "efficientnet_lite0": efficientnet_lite0.BACKBONE,
    "convnext_tiny": convnext_tiny.BACKBONE,
    "dinov2": dinov2.BACKBONE,
}
"""Backbones by name."""

__all__ = ["BACKBONES", "PREPROCESSING", "Backbone"]
