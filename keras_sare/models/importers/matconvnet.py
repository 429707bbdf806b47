"""Networks of MatConvNet (simplenn): NetVLAD's own models, deepIBL's SARE model, and what hloc reads.

Three things differ from this library: a descriptor is flattened channel by channel (element k + K * d belongs to
cluster k and channel d, so the rows of a whitening matrix change places), centres are stored negated, and images are
RGB minus `averageImage`. deepIBL's file is laid out like NetVLAD's and holds its whitening already.
"""

import os
from itertools import takewhile
from typing import Any

import numpy as np

from keras_sare.models.backbones.vgg16 import CONVOLUTIONS
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.matconvnet_export import write
from keras_sare.models.importers.vgg16_netvlad import from_channel_major
from keras_sare.utils.formats.matlab_file import read_matlab
from keras_sare.utils.formats.matlab_objects import MatlabObject

__all__ = ["read", "write"]

_SETTINGS: dict[str, dict[str, Any]] = {
    "conv": {"pad": 1, "stride": 1, "dilate": 1},
    "relu": {"leak": 0},
    "pool": {"method": "max", "pool": 2, "stride": 2, "pad": 0},
}
"""What VGG16's layers must say."""

_DEFAULTS = {"pad": 0, "stride": 1, "dilate": 1, "leak": 0, "method": "max", "pool": None}
"""What MatConvNet takes where a layer does not say."""

_CUSTOM = {
    "vlad": (("layerVLAD", "layerVLADv2"), ("vlad:core", "VLAD")),
    "max": (("layerTotalMaxPool",), ("max:core", "maxTotal")),
    "avg": (("layerTotalAvgPool",), ("avg:core", "avgTotal")),
    "l2": (("layerWholeL2Normalize",), ("postL2", "finalL2", "wholeL2")),
}
"""Classes of NetVLAD's layers, and the names by which they are known once they are structs."""


def read(path: str | os.PathLike[str]) -> ImportedWeights:
    """Reads a network of NetVLAD's MATLAB code, trained or off the shelf, of version 5 to 7.3.

    The layers of MATLAB classes may be objects, as NetVLAD's code saves them, or structs, as hloc and netvlad_tf_open
    want them. All methods are known: vlad and vladv2 with or without preL2 and intra, max and avg; each with or without
    PCA. VGG16 may be cut at any convolution.

    Args:
        path: a .mat file with a struct `net`, or with the fields of a bare MatConvNet network.

    Returns:
        The network; `pooling` is None for a bare VGG16.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or it holds another network, for example AlexNet.
    """
    variables = read_matlab(path, ["net", "layers", "meta", "normalization"])
    net = variables.get("net", variables)
    try:
        if not isinstance(net, dict) or not isinstance(net.get("layers"), list):
            raise ValueError(f"it has no network `net` with `layers`, only {sorted(variables) or 'other variables'}")
        return _imported(net)
    except ValueError as error:
        raise ValueError(
            f"`path` must hold a network of NetVLAD's MATLAB code on VGG16: {error}. Received: path={os.fspath(path)!r}"
        ) from error


def _imported(net: dict[str, Any]) -> ImportedWeights:
    layers = net["layers"]
    for i, layer in enumerate(layers, start=1):
        if not isinstance(layer, dict):
            raise ValueError(
                f"layer {i} is an object without content here; save a copy with net.layers{{i}} = "
                "struct(net.layers{i}) from a MATLAB that knows its class"
            )
    backbone = list(takewhile(lambda layer: _kind(layer) in ("conv", "relu", "pool"), layers))
    head = layers[len(backbone) :]
    names = [layer.get("name") for layer in backbone]
    if "fc6" in names:
        backbone = backbone[: names.index("pool5")]
        head = []
    convolutions, relu = _check_vgg16(backbone)
    names = [layer["name"] for layer in convolutions]
    weights = {str(layer["name"]): _weights(layer) for layer in convolutions}
    head_fields, head_weights = _head(head, len(weights[str(names[-1])][1])) if head else ({}, {})
    return ImportedWeights(
        layout="matconvnet",
        backbone="vgg16",
        torchvision=False,
        preprocessing={"mean": _average_image(net), "std": (1.0, 1.0, 1.0), "bgr": False},
        layers=weights | head_weights,
        cut=str(names[-1]),
        relu=relu,
        **head_fields,
    )


def _kind(layer: dict[str, Any]) -> str:
    return str(layer.get("type", "custom"))


def _check_vgg16(layers: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """Returns the convolutions, and whether the last one has a ReLU."""
    convolutions = [layer for layer in layers if _kind(layer) == "conv"]
    names = [layer.get("name") for layer in convolutions]
    if names[:1] == ["conv1"]:
        raise ValueError(
            "it holds Caffe's AlexNet ('caffe' or 'places'), which is not supported: it normalises across channels and "
            "splits conv2, conv4 and conv5 into two groups, and no backbone here does"
        )
    if not names or tuple(names) != CONVOLUTIONS[: len(names)]:
        raise ValueError(f"it has the convolutions {names} where VGG16 has {list(CONVOLUTIONS)}")
    expected = []
    for name in names:
        first_of_block = str(name).endswith("_1") and name != "conv1_1"
        expected += (["pool"] if first_of_block else []) + [name, "relu"]
    found = [layer["name"] if _kind(layer) == "conv" else _kind(layer) for layer in layers]
    for i in range(len(found) - 1):
        # NetVLAD swaps ReLU and max pooling, which commute, for speed.
        if found[i : i + 2] == ["pool", "relu"]:
            found[i : i + 2] = ["relu", "pool"]
    if found not in (expected, expected[:-1]):
        raise ValueError(f"it has the layers {found} where VGG16 has {expected}")
    for layer in layers:
        _check_settings(layer, _SETTINGS[_kind(layer)], "VGG16")
    return convolutions, found == expected


def _check_settings(layer: dict[str, Any], settings: dict[str, Any], whose: str) -> None:
    for key, value in settings.items():
        found = layer.get(key, _DEFAULTS[key])
        if not np.size(found) or np.any(np.asarray(found) != value):
            raise ValueError(f"its layer {layer.get('name')} has {key} {found} where {whose} has {value}")


def _is_custom(layer: dict[str, Any], what: str) -> bool:
    classes, names = _CUSTOM[what]
    if isinstance(layer, MatlabObject):
        return layer.class_name in classes
    return _kind(layer) == "custom" and layer.get("name") in names


def _weights(layer: dict[str, Any]) -> list[np.ndarray]:
    """Kernel [height, width, in, out] and bias [out]. Files before MatConvNet beta 9 call them filters and biases."""
    arrays = layer.get("weights") or [layer.get("filters"), layer.get("biases")]
    if len(arrays) != 2 or not all(isinstance(array, np.ndarray) for array in arrays):
        raise ValueError(f"its layer {layer.get('name')} has no weights")
    kernel, bias = (array.astype("float32", copy=False) for array in arrays)
    # MATLAB drops trailing dimensions of one.
    kernel = kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))
    if kernel.ndim != 4 or kernel.shape[3] != bias.size:
        raise ValueError(f"its layer {layer.get('name')} has a kernel {kernel.shape} and {bias.size} biases")
    return [kernel, bias.ravel()]


def _average_image(net: dict[str, Any]) -> tuple[float, ...]:
    """The mean colour: NetVLAD's code uses the first pixel of the average image."""
    normalization = (net.get("meta") or net).get("normalization") or {}
    image = np.asarray(normalization.get("averageImage", ()), "float64")
    pixel = image.ravel() if image.size == 3 else image[:1, :1].ravel() if image.ndim == 3 else image[:0]
    if pixel.size != 3:
        raise ValueError("it has no `meta.normalization.averageImage` of three channels")
    return tuple(pixel.tolist())


def _head(layers: list[dict[str, Any]], channels: int) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """Fields of `ImportedWeights` that the layers after the backbone determine, and their weights by name."""
    rest = list(layers)
    pre_l2 = _take_normalisation(rest, channels)
    core = rest.pop(0) if rest else {}
    intra = _take_normalisation(rest, channels)
    finals = [rest.pop(0)] if rest else []
    projection = rest.pop(0) if rest and _kind(rest[0]) == "conv" else None
    finals += [rest.pop(0)] if projection and rest else []
    l2 = all(_is_custom(layer, "l2") for layer in finals)
    if rest or not l2 or _kind(core) != "custom" or len(finals) != (2 if projection else 1):
        names = [layer.get("name") for layer in layers]
        raise ValueError(
            f"it ends in the layers {names}, which NetVLAD does not make: it ends in postL2, or postL2, WPCA, finalL2"
        )
    fields, weights = _pooling(core, pre_l2, intra, channels)
    if projection:
        kernel, bias = _weights(projection)
        _check_settings(projection, {"pad": 0, "stride": 1, "dilate": 1}, "NetVLAD")
        if kernel.shape[:2] != (1, 1):
            raise ValueError(f"its layer {projection.get('name')} has a kernel {kernel.shape}, not 1 x 1")
        clusters = fields["options"].get("clusters", 1)
        if kernel.shape[2] != clusters * channels:
            raise ValueError(
                f"its layer {projection.get('name')} takes {kernel.shape[2]} of {clusters * channels} values"
            )
        weights["whitening"] = [from_channel_major(kernel[0, 0], clusters), bias]
        fields["dim"] = len(bias)
    return fields, weights


def _pooling(
    core: dict[str, Any], pre_l2: bool, intra: bool, channels: int
) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    name = str(core.get("name"))
    arrays = core.get("weights") or []
    if len(arrays) in (2, 3) and _is_custom(core, "vlad"):
        weights = _clusters(arrays, channels)
        words = ["vlad" if len(arrays) == 2 else "vladv2", *["preL2"] * pre_l2, *["intra"] * intra]
        options = {"clusters": len(weights[1]), "method": "_".join(words), "normalization": "matlab"}
        return {"pooling": "netvlad", "options": options}, {"netvlad": weights}
    pooling = "mac" if _is_custom(core, "max") else "spoc" if _is_custom(core, "avg") else None
    if pooling is None or intra or arrays:
        raise ValueError(f"its layer {name} is none of the methods vlad, vladv2, max and avg")
    return {"pooling": pooling, "options": {}, "local_l2": pre_l2}, {}


def _take_normalisation(layers: list[dict[str, Any]], channels: int) -> bool:
    if not layers or _kind(layers[0]) != "normalize":
        return False
    layer = layers.pop(0)
    # (window, kappa, alpha, beta): x / (kappa + alpha * sum of squares in the window) ^ beta. The window lies around
    # each channel, so that it meets all of them only if it is twice as wide.
    window, *rest = np.ravel(layer.get("param", 0)).tolist()
    if window < 2 * channels or len(rest) != 3 or not np.allclose(rest, (1e-12, 1, 0.5), atol=0):
        raise ValueError(
            f"its layer {layer.get('name')} is no L2 normalisation of {channels} channels: {layer.get('param')}"
        )
    return True


def _clusters(weights: list[np.ndarray], channels: int) -> list[np.ndarray]:
    """[assignment, bias, centres] of MATLAB as [assignment, centres, bias] of the layer `NetVLAD`."""
    first, *bias, last = (np.asarray(array, "float32") for array in weights)
    if first.size % channels or first.size != last.size or any(b.size * channels != first.size for b in bias):
        raise ValueError(f"its NetVLAD weights {[np.shape(array) for array in weights]} do not fit {channels} channels")
    assignment, centres = (array.reshape(channels, -1, order="F") for array in (first, last))
    return [np.ascontiguousarray(assignment), np.ascontiguousarray(-centres.T), *(b.ravel() for b in bias)]
