"""Checkpoints of OpenIBL: VGG16 and NetVLAD, with or without the PCA layer."""

import os
from typing import Any

import h5py
import keras
import numpy as np

from keras_sare.layers import ImagePreprocessing, NetVLAD, Whitening
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.formats.torch_file import write_torch
from keras_sare.models.importers.heads import read_netvlad, read_projection
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.torchvision import VGG16, read_backbone
from keras_sare.utils.formats.hdf5 import checked_dataset

MEAN = (123.68, 116.779, 103.939)
"""RGB; its transform divides by 255, subtracts the mean over 255 and multiplies by 255 again."""

_LAYERS = (
    *("preprocessing", "conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2", "conv3_1", "conv3_2", "conv3_3"),
    *("pool3", "conv4_1", "conv4_2", "conv4_3", "pool4", "conv5_1", "conv5_2", "conv5_3", "netvlad"),
)
"""Of the model that is written, after its input; "whitening" may follow."""


def matches(state: StateDict) -> bool:
    """Whether the file is OpenIBL's."""
    return state.has("base_model.base.")


def read(state: StateDict, pca: str | os.PathLike[str] | None = None) -> ImportedWeights:
    """Reads VGG16 up to conv5_3 before its ReLU, NetVLAD and the PCA layer where there is one.

    Args:
        state: the state dict of `EmbedNet`, `EmbedRegionNet` or `EmbedNetPCA`.
        pca: the `pca_params_*.h5` that OpenIBL's test program writes beside a checkpoint without a PCA layer.

    Raises:
        ValueError: an array is missing, unknown or has an odd shape, or the PCA is given twice.
    """
    backbone = read_backbone(state, "base_model.base.")
    netvlad, options = read_netvlad(state, "net_vlad.", backbone.channels)
    layers = {**backbone.layers, "netvlad": netvlad}
    if "pca_layer.weight" in state:
        if pca is not None:
            raise ValueError(f"`pca` must be None where the file has a PCA layer. Received: path={state.path!r}")
        layers["whitening"] = read_projection(state, "pca_layer.", netvlad[1].size)
    elif pca is not None:
        layers["whitening"] = read_pca(pca, netvlad[1].size)
    state.finish()
    return ImportedWeights(
        layout="openibl",
        backbone=backbone.name,
        torchvision=True,
        preprocessing={"mean": MEAN, "std": (1.0, 1.0, 1.0)},
        layers=layers,
        pooling="netvlad",
        options=options,
        cut=backbone.last,
        relu=False,
        dim=len(layers["whitening"][1]) if "whitening" in layers else None,
    )


def read_pca(path: str | os.PathLike[str], channels: int) -> list[np.ndarray]:
    """Reads the PCA that OpenIBL stores beside a checkpoint, with whitening.

    Args:
        path: HDF5 file with U [channels, dim], lams [dim] and mu [channels, 1].
        channels: of the descriptor.

    Returns:
        [projection [channels, dim], bias [dim]], as `keras_sare.layers.Whitening` takes them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file, or belongs to other descriptors.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`pca` must name an existing file. Received: pca={os.fspath(path)!r}")
    try:
        with h5py.File(path) as file:
            directions, variances, mean = (_numbers(file, name) for name in ("U", "lams", "mu"))
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"`pca` must be an HDF5 file with U, lams and mu: {error}. Received: pca={os.fspath(path)!r}"
        ) from error
    if directions.shape != (channels, variances.size) or mean.size != channels:
        raise ValueError(
            f"`pca` must hold U ({channels}, dim), lams (dim,) and mu ({channels}, 1). Received: "
            f"U {directions.shape}, lams {variances.shape}, mu {mean.shape}, pca={os.fspath(path)!r}"
        )
    projection = directions / np.sqrt(variances.reshape(1, -1))
    return [projection.astype("float32"), -(mean.reshape(-1) @ projection).astype("float32")]


def _numbers(file: h5py.File, name: str) -> np.ndarray:
    dataset = checked_dataset(file, name)
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"{name!r} holds {dataset.dtype} where numbers are expected")
    return np.asarray(dataset[()])


def write(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes a model so that OpenIBL loads it.

    A model with whitening becomes a bare state dict of `EmbedNetPCA`, as the published `vgg16_netvlad.pth` is; one
    without becomes a checkpoint {state_dict, epoch, best_recall5} of `EmbedNet`, as the test program resumes from.

    Args:
        model: VGG16 up to conv5_3 without its ReLU and NetVLAD of the method `vlad_preL2_intra`, perhaps whitened,
            whose preprocessing subtracts OpenIBL's mean (RGB, or BGR as keras.applications' weights want).
        path: the `.pth` file to write.

    Raises:
        ValueError: OpenIBL has no such model.
    """
    preprocessing, netvlad, whitening = _parts(model)
    state: dict[str, Any] = {}
    for place, name in VGG16.items():
        weight, bias = model.get_layer(name).get_weights()
        if name == "conv1_1" and preprocessing.bgr:
            weight = weight[:, :, ::-1]
        state[f"base_model.base.{place}.weight"] = weight.transpose(3, 2, 0, 1)
        state[f"base_model.base.{place}.bias"] = bias
    assignment, centroids = netvlad.get_weights()
    state |= {"net_vlad.centroids": centroids, "net_vlad.conv.weight": assignment.T[:, :, None, None]}
    if whitening is None:
        write_torch(path, {"state_dict": state, "epoch": 0, "best_recall5": 0.0})
        return
    projection = whitening.get_weights()[0]
    bias = whitening.folded_bias()
    write_torch(path, state | {"pca_layer.weight": projection.T[:, :, None, None], "pca_layer.bias": bias})


def _parts(model: keras.Model) -> tuple[ImagePreprocessing, NetVLAD, Whitening | None]:
    preprocessing, netvlad, whitening = _layers(model)
    mean = preprocessing.mean[::-1] if preprocessing.bgr else preprocessing.mean
    if not np.allclose(mean, MEAN, rtol=0, atol=1e-5) or set(preprocessing.std) != {1.0}:
        raise ValueError(
            f"`model` must subtract the mean {MEAN} and not divide, since OpenIBL's own preprocessing does that. "
            f"Received: mean={mean}, std={preprocessing.std}"
        )
    if model.get_layer("conv5_3").activation is not keras.activations.linear:
        raise ValueError("`model` must pool conv5_3 before its ReLU. Received: a model that pools what comes after it")
    if netvlad.method != "vlad_preL2_intra":
        raise ValueError(f"`model` must use NetVLAD's method vlad_preL2_intra. Received: method={netvlad.method}")
    return preprocessing, netvlad, whitening


def _layers(model: keras.Model) -> tuple[ImagePreprocessing, NetVLAD, Whitening | None]:
    """Preprocessing, NetVLAD and whitening of a model in which nothing else follows them that would be lost."""
    layers = {layer.name: layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
    missing = [name for name in _LAYERS if name not in layers]
    others = [name for name in layers if name not in (*_LAYERS, "whitening")]
    if missing or others or tuple(layers) not in (_LAYERS, (*_LAYERS, "whitening")):
        raise ValueError(
            "`model` must be a vgg16_netvlad with at most one whitening, of the layers "
            f"{', '.join(_LAYERS)} and perhaps whitening, in this order; OpenIBL has no others. "
            f"Received: model={model.name} without {missing} and with {others or list(layers)}"
        )
    kinds = {"preprocessing": ImagePreprocessing, "netvlad": NetVLAD, "whitening": Whitening}
    for name, kind in kinds.items():
        if name in layers and not isinstance(layers[name], kind):
            raise ValueError(
                f"`model` must have a {kind.__name__} as its layer {name!r}. Received: {type(layers[name]).__name__}"
            )
    return layers["preprocessing"], layers["netvlad"], layers.get("whitening")
