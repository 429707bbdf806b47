"""MobileNetV3 Large."""

from keras_sare.models.backbones.shared.backbone import OWN_PREPROCESSING, Backbone, Cut, application, staged_cuts
from keras_sare.models.backbones.shared.sources import by_hand, keras_applications

FILE = "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5"
DIGEST = "07fb09a5933dd0c8eaafa16978110389"

BACKBONE = Backbone(
    paper="Howard et al., ICCV 2019",
    network=application("MobileNetV3Large", **OWN_PREPROCESSING),
    # The end, as Conv-AP's code takes EfficientNet; for the finer map there is no code to follow: stride 16.
    cuts=staged_cuts(Cut("expanded_conv_11_add", 112), Cut("activation_19", 960)),
    preprocessing="tensorflow",
    sources=(keras_applications("mobilenet_v3", FILE, DIGEST, "tensorflow"),),
    file=by_hand(FILE, "tensorflow"),
)
