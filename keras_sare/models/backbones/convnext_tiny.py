"""ConvNeXt-Tiny."""

import keras
from keras import layers

from keras_sare.models.backbones.shared.backbone import OWN_PREPROCESSING, Backbone, Cut, application, staged_cuts
from keras_sare.models.backbones.shared.sources import by_hand, keras_applications

FILE = "convnext/convnext_tiny_notop.h5"
DIGEST = "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"


def convnext_tiny(images: keras.KerasTensor) -> keras.Model:
    """keras.applications' network, with names for the ends of its last two stages."""
    network = application("ConvNeXtTiny", **OWN_PREPROCESSING)(images)
    # A stage ends in a sum without a name. The normalisation at the very end is made for averaged features.
    stages = {2: network.get_layer("convnext_tiny_downsampling_block_2").input, 3: network.layers[-1].input}
    outputs = [layers.Identity(name=f"convnext_tiny_stage_{i}_out")(x) for i, x in stages.items()]
    return keras.Model(network.inputs[0], [*outputs, network.output])


BACKBONE = Backbone(
    paper="Liu et al., CVPR 2022",
    network=convnext_tiny,
    cuts=staged_cuts(Cut("convnext_tiny_stage_2_out", 384), Cut("convnext_tiny_stage_3_out", 768)),
    preprocessing="torch",
    sources=(keras_applications("convnext_tiny", FILE, DIGEST, "torch"),),
    file=by_hand(FILE, "torch"),
)
