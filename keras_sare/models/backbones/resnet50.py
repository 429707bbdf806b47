"""ResNet-50: He's original as in keras.applications, and torchvision's variant for torchvision's weights."""

from keras_sare.models.backbones.shared.backbone import Backbone, Cut, application, staged_cuts
from keras_sare.models.backbones.shared.resnet import resnet
from keras_sare.models.backbones.shared.sources import by_hand, keras_applications

FILE = "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
# Not Keras's, which gives the MD5 4d473c1dd8becc155b73f8504c6f6626, but other projects' that pin this file.
DIGEST = "66c8b43daff3fcc15bc4f30e3d2a167e21a14d9c9598a5394e5516471f4af504"

BACKBONE = Backbone(
    paper="He et al., CVPR 2016",
    network=application("ResNet50"),
    # conv4 for NetVLAD as in the VG benchmark and for MixVPR as in its code; conv5 for GeM and MAC as in cirtorch and
    # for Conv-AP as in its code.
    cuts=staged_cuts(Cut("conv4_block6_out", 1024), Cut("conv5_block3_out", 2048)),
    preprocessing="caffe",
    sources=(keras_applications("resnet50", FILE, DIGEST, "caffe"),),
    file=by_hand(FILE, "caffe"),
    torchvision=lambda images: resnet(images, (3, 4, 6, 3)),
)
