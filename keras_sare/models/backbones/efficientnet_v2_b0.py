"""EfficientNetV2-B0."""

from keras_sare.models.backbones.shared.backbone import OWN_PREPROCESSING, Backbone, Cut, application, staged_cuts
from keras_sare.models.backbones.shared.sources import by_hand, keras_applications

FILE = "efficientnet_v2/efficientnetv2-b0_notop.h5"
DIGEST = "893217f2bb855e2983157299931e43ff"

BACKBONE = Backbone(
    paper="Tan, Le, ICML 2021",
    network=application("EfficientNetV2B0", **OWN_PREPROCESSING),
    # The end, as Conv-AP's code takes EfficientNet; for the finer map there is no code to follow: stride 16.
    cuts=staged_cuts(Cut("block5e_add", 112), Cut("top_activation", 1280)),
    preprocessing="torch",
    sources=(keras_applications("efficientnet_v2_b0", FILE, DIGEST, "torch"),),
    file=by_hand(FILE, "torch"),
)
