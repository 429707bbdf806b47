"""Weights of a backbone by layer, and the files they are read from."""

import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sare.models.backbones import BACKBONES
from keras_sare.models.backbones.shared.names import stable_names
from keras_sare.models.backbones.vgg16 import CONVOLUTIONS
from keras_sare.utils.digests import content_digest


@dataclass(frozen=True, eq=False)
class BackboneWeights:
    """Weights of the layers of a backbone.

    Attributes:
        layers: for each layer's name what its `get_weights()` gives.
        preprocessing: what the weights want, a key of `PREPROCESSING` or arguments of `ImagePreprocessing`.
        source: file or download that they come from, for messages.
        torchvision: whether they are of torchvision's variant of the network.
    """

    layers: Mapping[str, list[np.ndarray]]
    preprocessing: str | Mapping[str, Any]
    source: str
    torchvision: bool = False


def digest(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 of arrays in order, as float32: so weights are known whatever file holds them."""
    return content_digest(np.asarray(array, "<f4") for array in arrays)


def read_weights(
    path: str | os.PathLike[str], backbone: str = "vgg16", preprocessing: str | None = None
) -> BackboneWeights:
    """Reads a `.h5` file of keras.applications (without the classifier) or a `.npz` that this package wrote.

    Args:
        path: the file.
        backbone: key of `BACKBONES`. A `.npz` holds the convolutions of vgg16.
        preprocessing: key of `PREPROCESSING`; may be None where the weights are known ones, or of a network that has
            one preprocessing only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not hold weights of this backbone, or its preprocessing is neither known nor given.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`weights` must name an existing file. Received: weights={str(path)!r}")
    if path.suffix not in (".h5", ".npz"):
        raise ValueError(
            "`weights` must be a .h5, .npz, .weights.h5, .pth, .pth.tar, .pt or .mat file. "
            f"Received: weights={str(path)!r}"
        )
    try:
        layers = _read_npz(path) if path.suffix == ".npz" else _read_h5(path, backbone)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`weights` must hold the layers of {backbone} without its classifier, as keras.applications stores them: "
            f"{str(error).strip().splitlines()[0]} Received: weights={str(path)!r}"
        ) from error
    return BackboneWeights(layers, preprocessing or _known_preprocessing(layers, backbone, path), str(path))


def set_layers(model: keras.Model, weights: Mapping[str, list[np.ndarray]], source: str) -> None:
    """Gives every layer of `model` its weights; what is left over in `weights` is ignored.

    Args:
        model: functional model.
        weights: for each layer's name what its `get_weights()` gives.
        source: of the weights, for messages.

    Raises:
        ValueError: a layer's weights are missing or have other shapes: they belong to another network. Then nothing
            has been set.
    """
    wanted = {layer.name: layer for layer in model.layers if layer.weights}
    if missing := [name for name in wanted if name not in weights]:
        raise ValueError(
            f"`weights` must hold all {len(wanted)} layers of {model.name} that have weights; these belong to another "
            f"network: {len(missing)} are missing, from {missing[0]} on. Received: weights={source!r}"
        )
    for name, layer in wanted.items():
        expected, received = ([tuple(array.shape) for array in arrays] for arrays in (layer.weights, weights[name]))
        if expected != received:
            raise ValueError(
                f"`weights` must fit {model.name}; these belong to another network: {name} would get {received} "
                f"instead of {expected}. Received: weights={source!r}"
            )
    for name, layer in wanted.items():
        layer.set_weights(weights[name])


def _known_preprocessing(layers: Mapping[str, list[np.ndarray]], backbone: str, path: Path) -> str:
    parts = BACKBONES[backbone]
    if not parts.others:
        return parts.preprocessing
    # By the arrays themselves, so that the container does not matter.
    known = parts.known.get(digest(array for arrays in layers.values() for array in arrays))
    if known is None:
        raise ValueError(
            f"`preprocessing` must be given for weights of {backbone} that are not known: 'caffe' where they come from "
            f"keras.applications, 'torch' where they come from torchvision. Received: weights={str(path)!r}"
        )
    return known


def _read_npz(path: Path) -> dict[str, list[np.ndarray]]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        if (count := len(archive.files) // 2) != len(CONVOLUTIONS):
            raise ValueError(f"these belong to another network: {count} convolutions instead of {len(CONVOLUTIONS)}.")
        return {name: [archive[f"{i:03d}_k"], archive[f"{i:03d}_b"]] for i, name in enumerate(CONVOLUTIONS)}


def _read_h5(path: Path, backbone: str) -> dict[str, list[np.ndarray]]:
    # Keras reads its own files: their layers are told by order, and their names have changed over the years.
    network = BACKBONES[backbone].network(keras.Input((None, None, 3)))
    network.load_weights(path)
    names = stable_names(network)
    return {names.get(layer.name, layer.name): layer.get_weights() for layer in network.layers if layer.weights}
