"""Checkpoints of Nanne's pytorch-NetVlad, and of Patch-NetVLAD, which is made of it."""

from typing import Any

from keras_sare.models.backbones import PREPROCESSING
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.heads import read_netvlad, read_projection
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.torchvision import read_backbone


def matches(state: StateDict) -> bool:
    """Whether the file is one of theirs."""
    return state.has("encoder.")


def read(state: StateDict) -> ImportedWeights:
    """Reads VGG16 or AlexNet before the last ReLU, NetVLAD (also v2, with a bias), and Patch-NetVLAD's WPCA.

    The poolings `max` and `avg` have no weights: the file does not tell which it was. What is imported of
    Patch-NetVLAD is its global descriptor.

    Raises:
        ValueError: an array is missing, unknown or has an odd shape, or there is a WPCA and no NetVLAD before it.
    """
    backbone = read_backbone(state, "encoder.")
    layers = dict(backbone.layers)
    pooling = None
    options = dict[str, Any]()
    if state.has("pool."):
        layers["netvlad"], options = read_netvlad(state, "pool.", backbone.channels)
        pooling = "netvlad"
    whitened = "WPCA.0.weight" in state
    if whitened and pooling is None:
        raise ValueError(
            f"`path` must be a file with the NetVLAD layer (pool.*) whose descriptors WPCA.0.* whitens. "
            f"Received: path={state.path!r}"
        )
    if whitened:
        layers["whitening"] = read_projection(state, "WPCA.0.", layers["netvlad"][1].size)
    state.finish()
    return ImportedWeights(
        layout="patch_netvlad" if whitened else "nanne",
        backbone=backbone.name,
        torchvision=True,
        preprocessing=PREPROCESSING["torch"],
        layers=layers,
        pooling=pooling,
        options=options,
        cut=backbone.last,
        relu=False,
        dim=len(layers["whitening"][1]) if whitened else None,
    )
