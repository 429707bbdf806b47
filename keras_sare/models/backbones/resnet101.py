"""ResNet-101: He's original as in keras.applications, and torchvision's variant for torchvision's weights."""

from keras_sare.models.backbones.shared.backbone import Backbone, Cut, application, staged_cuts
from keras_sare.models.backbones.shared.resnet import resnet
from keras_sare.models.backbones.shared.sources import by_hand, keras_applications

FILE = "resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5"
DIGEST = "88cf7a10940856eca736dc7b7e228a21"

BACKBONE = Backbone(
    paper="He et al., CVPR 2016",
    network=application("ResNet101"),
    # conv4 for NetVLAD as in the VG benchmark and for MixVPR as in its code; conv5 for GeM and MAC as in cirtorch and
    # for Conv-AP as in its code.
    cuts=staged_cuts(Cut("conv4_block23_out", 1024), Cut("conv5_block3_out", 2048)),
    preprocessing="caffe",
    sources=(keras_applications("resnet101", FILE, DIGEST, "caffe"),),
    file=by_hand(FILE, "caffe"),
    torchvision=lambda images: resnet(images, (3, 4, 23, 3)),
)
