"""Networks of cnnimageretrieval-pytorch (cirtorch)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.heads import read_projection
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.torchvision import read_backbone
from keras_sare.utils.formats.pickled_containers import shown

POOLINGS = {"mac": "mac", "spoc": "spoc", "gem": "gem", "gemmp": "gem", "rmac": "rmac"}
"""cirtorch's names and ours."""

MOST_COLOUR = 1e6
"""A mean or standard deviation that is no damage, by far."""


def matches(state: StateDict) -> bool:
    """Whether the file is cirtorch's."""
    meta = state.meta.get("meta")
    return isinstance(meta, dict) and "architecture" in meta and "pooling" in meta


def read(state: StateDict, whitening: tuple[str, str] | None = None) -> ImportedWeights:
    """Reads VGG16, AlexNet or ResNet after the last ReLU, the pooling, and the whitening.

    Args:
        state: the state dict, and beside it "meta", which names architecture, pooling, mean and std.
        whitening: (data set, "ss" or "ms"): which of the learned whitenings in "meta" to apply, for descriptors of one
            scale or of several. None for none; a network that was trained with its whitening has it among its weights.

    Raises:
        ValueError: an array is missing, unknown or has an odd shape, there is no mean or std, there is no such
            whitening, or the network has parts that no layer here has: whitening of local descriptors, regional pooling
            other than MAC's.
    """
    meta = state.meta["meta"]
    preprocessing = {part: _of_colours(meta, part, state.path) for part in ("mean", "std")}
    backbone = read_backbone(state, "features.")
    layers = dict(backbone.layers)
    channels = backbone.channels
    pooling, options, weights = _pooling(state, meta, channels)
    if weights:
        layers[pooling] = weights
    if "whiten.weight" in state:
        layers["whitening"] = read_projection(state, "whiten.", channels)
    if whitening is not None:
        if "whitening" in layers:
            raise ValueError(
                "`whitening` must be None where the network has a whitening among its weights. "
                f"Received: whitening={whitening}, path={state.path!r}"
            )
        layers["whitening"] = _learned_whitening(meta, whitening, channels)
    state.finish()
    return ImportedWeights(
        layout="cirtorch",
        backbone=backbone.name,
        torchvision=True,
        preprocessing=preprocessing,
        layers=layers,
        pooling=pooling,
        options=options,
        cut=backbone.last,
        relu=True,
        dim=len(layers["whitening"][1]) if "whitening" in layers else None,
        end_to_end=whitening is None,
    )


def _of_colours(meta: Mapping[str, Any], part: str, path: str) -> tuple[float, ...]:
    values: Any = meta.get(part)
    values = values.tolist() if isinstance(values, np.ndarray) else values
    numbers = isinstance(values, list | tuple) and all(map(_is_colour, values))
    if not numbers or len(values) != 3:
        received = str(values)[:100] if numbers else shown(values)
        raise ValueError(
            f"`path` must be a file whose meta has a {part!r} of three numbers, in 0..1. "
            f"Received: {part}={received}, path={path!r}"
        )
    return tuple(255.0 * float(value) for value in values)


def _is_colour(value: Any) -> bool:
    is_number = isinstance(value, float | int | np.number)
    return is_number and bool(abs(value) < MOST_COLOUR)


def _pooling(state: StateDict, meta: dict[str, Any], channels: int) -> tuple[str, dict[str, Any], list[np.ndarray]]:
    name = shown(meta["pooling"])
    regional = bool(meta.get("regional", False))
    local_whitening = bool(meta.get("local_whitening", False))
    if name not in POOLINGS or local_whitening or (regional and name != "mac"):
        raise ValueError(
            f"`path` must be a file with one of the poolings {', '.join(POOLINGS)}, regional only for mac, and without "
            f"local whitening. Received: pooling={name!r}, regional={regional}, "
            f"local_whitening={local_whitening}, path={state.path!r}"
        )
    if regional:
        weights = read_projection(state, "pool.whiten.", channels)
        no_mean = np.zeros(channels, "float32")
        return "rmac", {"include_global": True, "whitening_dim": len(weights[1])}, [*weights, no_mean]
    if name in ("gem", "gemmp"):
        exponents = state.take("pool.p", channels if name == "gemmp" else 1)
        return "gem", {"per_channel": name == "gemmp"}, [exponents]
    return POOLINGS[name], {"include_global": True} if name == "rmac" else {}, []


def _learned_whitening(meta: dict[str, Any], which: tuple[str, str], channels: int) -> list[np.ndarray]:
    learned = meta.get("Lw")
    kinds_of = {k: v for k, v in learned.items() if isinstance(v, Mapping)} if isinstance(learned, Mapping) else {}
    available = [
        (data, scales)
        for data, kinds in kinds_of.items()
        for scales, found in kinds.items()
        if isinstance(found, Mapping) and all(isinstance(found.get(part), np.ndarray) for part in ("m", "P"))
    ]
    if tuple(which) not in available:
        raise ValueError(f"`whitening` must be one of {available or 'none at all'}. Received: whitening={which}")
    data, scales = which
    mean, projection = (np.asarray(kinds_of[data][scales][part], "float64") for part in ("m", "P"))
    if projection.shape[1:] != (channels,) or mean.size != channels:
        raise ValueError(
            f"`whitening` must be one for {channels} channels. "
            f"Received: m {mean.shape}, P {projection.shape}, whitening={which}"
        )
    return [projection.T.astype("float32"), -(projection @ mean.reshape(-1)).astype("float32")]
