"""What comes after the backbone in the state dicts of several projects."""

from typing import Any

import numpy as np

from keras_sare.models.importers.formats.state_dict import StateDict


def read_netvlad(state: StateDict, prefix: str, channels: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Takes the NetVLAD layer that all PyTorch ports share.

    They flatten cluster by cluster, as this library does, store the centres with their true sign and divide by
    max(|x|, 1e-12).

    Args:
        state: the state dict.
        prefix: of the names, for example "net_vlad.".
        channels: of the feature map.

    Returns:
        (weights as `keras_sare.layers.NetVLAD` takes them, its arguments).

    Raises:
        ValueError: an array is missing or has an odd shape.
    """
    assignment = state.take(f"{prefix}conv.weight", None, channels, 1, 1)[:, :, 0, 0]
    clusters = len(assignment)
    options = {"clusters": clusters, "normalization": "torch"}
    weights = [assignment.T, state.take(f"{prefix}centroids", clusters, channels)]
    if f"{prefix}conv.bias" not in state:
        return weights, {**options, "method": "vlad_preL2_intra"}
    bias = state.take(f"{prefix}conv.bias", clusters)
    return [*weights, bias], {**options, "method": "vladv2_preL2_intra"}


def read_projection(state: StateDict, prefix: str, channels: int) -> list[np.ndarray]:
    """Takes a fully connected layer, also one that is written as a 1x1 convolution.

    Args:
        state: the state dict.
        prefix: of the names, for example "pca_layer.".
        channels: of the descriptor.

    Returns:
        [projection [channels, dim], bias [dim]], as `keras_sare.layers.Whitening` takes them.

    Raises:
        ValueError: an array is missing or has an odd shape.
    """
    ones: tuple[int, ...] = () if len(state.shape(f"{prefix}weight") or ()) == 2 else (1, 1)
    weight = state.take(f"{prefix}weight", None, channels, *ones)
    projection = weight.reshape(-1, channels).T
    return [projection, state.take(f"{prefix}bias", projection.shape[1])]
