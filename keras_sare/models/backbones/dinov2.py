"""DINOv2 ViT-B/14, with keras-hub."""

import keras
import numpy as np

from keras_sare.layers.dinov2 import IMAGE, DINOv2, import_keras_hub
from keras_sare.models.backbones.shared.backbone import Backbone, Cut, staged_cuts

PRETRAINED = "dinov2_base"
"""keras-hub's name of the weights; the defaults of `DINOv2` are of this size."""


def dinov2(images: keras.KerasTensor) -> keras.Model:
    """DINOv2-base from prepared images to (feature maps, class tokens), the layer "dinov2"."""
    return keras.Model(keras.utils.get_source_inputs(images)[0], DINOv2(name="dinov2")(images))


def dinov2_weights() -> dict[str, list[np.ndarray]]:
    """Fetches the authors' weights through keras-hub, which keeps them in its own cache.

    Returns:
        {"dinov2": the weights of the layer}.
    """
    transformer = import_keras_hub().models.DINOV2Backbone.from_preset(PRETRAINED, image_shape=IMAGE)
    return {"dinov2": transformer.get_weights()}


BACKBONE = Backbone(
    paper="Oquab et al., TMLR 2024",
    network=dinov2,
    # One map of stride 14, after the last normalisation, as in SALAD's code.
    cuts=staged_cuts(Cut("dinov2", 768), Cut("dinov2", 768)),
    preprocessing="torch",
    pretrained=dinov2_weights,
)
