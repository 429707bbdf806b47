"""vgg16_netvlad models as a network of MatConvNet in a MATLAB file."""

import os
from typing import Any

import keras
import numpy as np
from scipy.io import savemat

from keras_sare.models.backbones.vgg16 import CONVOLUTIONS
from keras_sare.models.importers.vgg16_netvlad import to_channel_major
from keras_sare.utils.files import atomic_path

_IMAGE_SIDE = 224


def write(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes a model as hloc's extractor "netvlad" reads it: MATLAB 5, the layers of MATLAB classes as structs.

    Weights come back bit for bit from models whose preprocessing has a unit standard deviation, as everything that
    `read` returns; otherwise the standard deviation is divided into the kernel of conv1_1, because MatConvNet only
    subtracts a mean. The file does not say how the layer normalises: hloc divides by max(|x|, 1e-12), as
    `NetVLAD(normalization="torch")` does, NetVLAD's MATLAB code by sqrt(|x|^2 + 1e-12).

    NetVLAD's MATLAB code runs objects, not structs; there, after loading:

        net.layers{31} = layerVLAD.loadobj(net.layers{31});
        for i = 33:2:numel(net.layers), net.layers{i} = layerWholeL2Normalize(net.layers{i}.name); end

    Args:
        model: VGG16 with NetVLAD of the method `vlad_preL2_intra`, with or without whitening.
        path: of the .mat file; an existing one is replaced.

    Raises:
        ValueError: another model.
    """
    names = [layer.name for layer in model.layers]
    method = getattr(model.get_layer("netvlad"), "method", None) if "netvlad" in names else None
    relu = "conv5_3" in names and model.get_layer("conv5_3").activation is not keras.activations.linear
    # The first is the input, which may have any name.
    found = names[1:]
    expected = _chain()
    single = len(model.inputs) == len(model.outputs) == 1
    if found not in (expected, [*expected, "whitening"]) or method != "vlad_preL2_intra" or relu or not single:
        unknown = [name for name in found if name not in (*expected, "whitening")]
        missing = [name for name in expected if name not in found]
        raise ValueError(
            "`model` must be vgg16_netvlad of the method vlad_preL2_intra, with or without one whitening and without "
            f"the ReLU of conv5_3: hloc reads no other. Received: model={model.name!r} with the further layers "
            f"{unknown}, without the layers {missing}, method={method!r}, relu={relu}, "
            f"{len(model.outputs)} output(s)"
        )
    network = {"layers": _cells(_layers(model)), "meta": _meta(model.get_layer("preprocessing"))}
    with atomic_path(path) as temporary:
        savemat(temporary, {"net": network}, appendmat=False, long_field_names=True)


def _chain() -> list[str]:
    names = ["preprocessing"]
    for name in CONVOLUTIONS:
        if name.endswith("_1") and name != "conv1_1":
            names.append(f"pool{int(name[4]) - 1}")
        names.append(name)
    return [*names, "netvlad"]


def _layers(model: keras.Model) -> list[dict[str, Any]]:
    layers = _backbone(model)
    netvlad = model.get_layer("netvlad")
    channels = int(netvlad.get_weights()[0].shape[0])
    layers += [
        _normalisation("preL2", channels),
        _vlad(*netvlad.get_weights()),
        _normalisation("vlad:intranorm", channels),
        _whole_l2("postL2"),
    ]
    if model.layers[-1].name == "whitening":
        projection = model.layers[-1].get_weights()[0]
        bias = model.layers[-1].folded_bias()
        kernel = to_channel_major(projection, netvlad.clusters)[None, None]
        layers += [_convolution("WPCA", kernel, bias[:, None], pad=0), _whole_l2("finalL2")]
    return layers


def _backbone(model: keras.Model) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = []
    for name in CONVOLUTIONS:
        kernel, bias = model.get_layer(name).get_weights()
        if name == "conv1_1":
            kernel = _for_rgb_minus_mean(kernel, model.get_layer("preprocessing"))
        elif name.endswith("_1"):
            pool = {"method": "max", "pool": [2.0, 2.0], "stride": [2.0, 2.0], "pad": [0.0] * 4, "opts": _cells([])}
            # NetVLAD's models pool before the ReLU.
            layers.insert(-1, {"type": "pool", "name": f"pool{int(name[4]) - 1}", **pool, "precious": False})
        layers.append(_convolution(name, kernel, bias, pad=1))
        layers.append({"type": "relu", "name": name.replace("conv", "relu"), "leak": 0.0, "precious": False})
    return layers[:-1]


def _for_rgb_minus_mean(kernel: np.ndarray, preprocessing: keras.layers.Layer) -> np.ndarray:
    std = np.asarray(preprocessing.std)
    if np.any(std != 1):
        kernel = (kernel / std[:, None]).astype("float32")
    return kernel[:, :, ::-1] if preprocessing.bgr else kernel


def _meta(preprocessing: keras.layers.Layer) -> dict[str, Any]:
    mean = preprocessing.mean[::-1] if preprocessing.bgr else preprocessing.mean
    image = np.broadcast_to(np.asarray(mean, "float64"), (_IMAGE_SIDE, _IMAGE_SIDE, 3))
    normalization = {"averageImage": image, "imageSize": [float(_IMAGE_SIDE), float(_IMAGE_SIDE), 3.0]}
    return {"normalization": normalization, "netID": "vd16", "sessionID": "keras_sare", "epoch": 0.0}


def _cells(items: list[Any]) -> np.ndarray:
    cells = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        cells[0, i] = item
    return cells


def _convolution(name: str, kernel: np.ndarray, bias: np.ndarray, pad: int) -> dict[str, Any]:
    sides: dict[str, Any] = {"stride": [1.0, 1.0], "pad": [float(pad)] * 4} if pad else {"stride": 1.0, "pad": 0.0}
    weights = _cells([kernel, bias])
    return {"type": "conv", "name": name, "weights": weights, "opts": _cells([]), "precious": False} | sides


def _normalisation(name: str, channels: int) -> dict[str, Any]:
    return {"type": "normalize", "name": name, "param": [2.0 * channels, 1e-12, 1.0, 0.5], "precious": False}


def _vlad(assignment: np.ndarray, centroids: np.ndarray) -> dict[str, Any]:
    channels, clusters = assignment.shape
    return {
        "type": "custom",
        "name": "vlad:core",
        "K": float(clusters),
        "D": float(channels),
        "vladDim": float(channels * clusters),
        "weights": _cells([assignment[None, None], -centroids.T[None, None]]),
        "momentum": [],
        "learningRate": [],
        "weightDecay": [],
        "precious": False,
    }


def _whole_l2(name: str) -> dict[str, Any]:
    return {"type": "custom", "name": name, "precious": False}
