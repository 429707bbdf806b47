"""Checkpoints of OpenIBL: VGG16 and NetVLAD, with or without the PCA layer."""

import os
from collections.abc import Mapping
from typing import Any

import h5py
import keras
import numpy as np

from keras_sare.layers import ImagePreprocessing, NetVLAD, Whitening
from keras_sare.models.interchange.heads import read_netvlad, read_projection
from keras_sare.models.interchange.imported import ImportedWeights
from keras_sare.models.interchange.state_dict import StateDict
from keras_sare.models.interchange.torch_file import write_torch
from keras_sare.models.interchange.torchvision import VGG16, read_backbone

MEAN = (123.68, 116.779, 103.939)
"""RGB; its transform divides by 255, subtracts the mean over 255 and multiplies by 255 again."""


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
            directions, variances, mean = (file[name][()] for name in ("U", "lams", "mu"))
    except (OSError, KeyError) as error:
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
    projection, bias = whitening.get_weights()
    write_torch(path, state | {"pca_layer.weight": projection.T[:, :, None, None], "pca_layer.bias": bias})


def _parts(model: keras.Model) -> tuple[ImagePreprocessing, NetVLAD, Whitening | None]:
    layers: Mapping[str, keras.layers.Layer] = {layer.name: layer for layer in model.layers}
    expected = ["preprocessing", *VGG16.values(), "netvlad"]
    missing = [name for name in expected if name not in layers]
    if missing:
        raise ValueError(f"`model` must be a vgg16_netvlad; it has no layer {missing[0]}. Received: model={model.name}")
    preprocessing, netvlad, whitening = layers["preprocessing"], layers["netvlad"], layers.get("whitening")
    mean = preprocessing.mean[::-1] if preprocessing.bgr else preprocessing.mean
    if not np.allclose(mean, MEAN, rtol=0, atol=1e-5) or set(preprocessing.std) != {1.0}:
        raise ValueError(
            f"`model` must subtract the mean {MEAN} and not divide, since OpenIBL's own preprocessing does that. "
            f"Received: mean={mean}, std={preprocessing.std}"
        )
    if layers["conv5_3"].activation is not keras.activations.linear:
        raise ValueError("`model` must pool conv5_3 before its ReLU. Received: a model that pools what comes after it")
    if netvlad.method != "vlad_preL2_intra":
        raise ValueError(f"`model` must use NetVLAD's method vlad_preL2_intra. Received: method={netvlad.method}")
    return preprocessing, netvlad, whitening
