"""Checkpoints of the deep visual geo-localization benchmark (VGB)."""

from typing import Any

from keras_sare.models.backbones import PREPROCESSING
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.heads import read_netvlad, read_projection
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.torchvision import read_backbone
from keras_sare.utils.choices import check_choice

L2 = ("before_pool", "after_pool", "none")
"""Values of the benchmark's option --l2: where GeM, SPoC, MAC and R-MAC are L2-normalised."""


def matches(state: StateDict) -> bool:
    """Whether the file is the benchmark's."""
    return state.has("backbone.")


def read(state: StateDict, pooling: str | None = None, l2: str | None = None) -> ImportedWeights:
    """Reads VGG16, AlexNet (before their last ReLU) or ResNet up to conv4 or conv5, the pooling and the last layer.

    Args:
        state: the state dict.
        pooling: "mac", "spoc" or "rmac" where it was one of them: they have no weights, so the file does not tell.
        l2: the benchmark's option --l2, where the file does not tell it and it matters.

    Raises:
        ValueError: an array is missing, unknown or has an odd shape, `l2` is unknown or does not fit the file, or the
            last layer follows NetVLAD: the benchmark gives it as many inputs as the feature map has channels, so that
            its own program cannot run such a network.
    """
    if l2 is not None:
        check_choice("l2", l2, L2)
    backbone = read_backbone(state, "backbone.")
    layers = dict(backbone.layers)
    if state.has("aggregation.0.conv."):
        raise ValueError(
            "`path` must be a file without a fully connected layer after NetVLAD (--fc_output_dim), which the "
            f"benchmark's own program cannot run. Received: path={state.path!r}"
        )
    projected = len(state.shape("aggregation.1.weight") or ()) == 2
    prefix = "aggregation.0." if projected else "aggregation."
    place = next((place for place in "01" if f"{prefix}{place}.p" in state), None)
    options: dict[str, Any] = {}
    if "aggregation.conv.weight" in state:
        pooling = "netvlad"
        l2 = "after_pool"
        layers["netvlad"], options = read_netvlad(state, "aggregation.", backbone.channels)
    elif place is not None:
        pooling = "gem"
        l2 = _l2_of_gem(l2, place, projected)
        layers["gem"] = [state.take(f"{prefix}{place}.p", 1)]
    elif pooling == "rmac":
        options = {"include_global": True}
    if projected:
        layers["whitening"] = read_projection(state, "aggregation.1.", backbone.channels)
    state.finish()
    return ImportedWeights(
        layout="vgb",
        backbone=backbone.name,
        torchvision=True,
        # Its files are resized as tensors, which torchvision did without antialiasing.
        preprocessing={**PREPROCESSING["torch"], "antialias": False},
        layers=layers,
        pooling=pooling,
        options=options,
        cut=backbone.last,
        relu=backbone.name.startswith("resnet"),
        dim=len(layers["whitening"][1]) if projected else None,
        end_to_end=projected,
        local_l2=l2 == "before_pool",
        pooled_l2=None if l2 is None else l2 == "after_pool",
    )


def _l2_of_gem(l2: str | None, place: str, projected: bool) -> str | None:
    """What the place of the exponent tells: there is a layer before GeM, or none. Then two values are possible."""
    possible = ("before_pool",) if place == "1" else ("after_pool", "none")
    if l2 is None and projected and len(possible) > 1:
        return None
    if l2 not in (None, *possible):
        raise ValueError(f"`l2` must be one of {', '.join(possible)} for this file. Received: l2={l2!r}")
    # Without a projection "none" differs from "after_pool" in the descriptor's length only, which is made 1 here.
    return l2 or possible[0]
