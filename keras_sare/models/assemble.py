"""`assemble`: a model from its parts, without trained weights."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_sare.layers import MAC, RMAC, SALAD, ConvAP, CroW, GeM, ImagePreprocessing, MixVPR, NetVLAD, SPoC, Whitening
from keras_sare.models.backbones import BACKBONES, PREPROCESSING
from keras_sare.models.backbones.shared.names import cut_network, with_stable_names
from keras_sare.models.presets import find_preset
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.choices import check_choice

POOLINGS: dict[str, Callable[..., keras.layers.Layer]] = {
    "netvlad": NetVLAD,
    "mac": MAC,
    "spoc": SPoC,
    "gem": GeM,
    "rmac": RMAC,
    "crow": CroW,
    "mixvpr": MixVPR,
    "convap": ConvAP,
    "salad": SALAD,
}
"""Layers that make a descriptor of a feature map, by name."""


@plain_arguments
def assemble(
    backbone: str,
    pooling: str,
    *,
    cut: str | None = None,
    relu: bool | None = None,
    preprocessing: str | Mapping[str, Any] = "caffe",
    torchvision: bool = False,
    options: Mapping[str, Any] | None = None,
    dim: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Puts a model together from its parts, without trained weights.

    Its layers are "images", "preprocessing", those of the backbone, the pooling layer under the name of `pooling` and,
    with `dim`, "whitening".

    Args:
        backbone: key of `BACKBONES`.
        pooling: key of `POOLINGS`.
        cut: last layer of the backbone; by default the preset's.
        relu: whether that layer keeps its ReLU; by default the preset's.
        preprocessing: key of `PREPROCESSING`, or arguments of `ImagePreprocessing`.
        torchvision: torchvision's variant of the backbone, which for ResNet is another network.
        options: arguments of the pooling layer, for example {"clusters": 64}; those left out are the preset's.
        dim: output dimension of an end-to-end projection after the pooling; None for none.
        name: of the model; by default `backbone` and `pooling` with an underscore.

    Returns:
        Model of RGB images 0..255 [batch, height, width, 3] that gives descriptors [batch, dim] of norm 1.

    Raises:
        ValueError: an unknown backbone, pooling, layer or preprocessing.
    """
    preset = find_preset(f"{backbone}_{pooling}")
    images = keras.Input((None, None, 3), name="images")
    prepared = ImagePreprocessing(**preprocessing_arguments(preprocessing), name="preprocessing")(images)
    parts = BACKBONES[backbone]
    network = parts.torchvision if torchvision and parts.torchvision else parts.network
    features = cut_network(
        with_stable_names(network(prepared)), cut or preset.cut, preset.relu if relu is None else relu
    )
    maps = features.output
    if isinstance(maps, list) and pooling != "salad":
        maps = maps[0]  # DINOv2 gives a class token beside the map; only SALAD has a use for it.
    descriptors = POOLINGS[pooling](**{**preset.options, **(options or {})}, name=pooling)(maps)
    if dim is not None:
        descriptors = Whitening(dim, end_to_end=True, name="whitening")(descriptors)
    return keras.Model(features.input, descriptors, name=name or preset.name)


def preprocessing_arguments(preprocessing: str | Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `ImagePreprocessing` for a key of `PREPROCESSING`, or for such arguments themselves.

    Raises:
        ValueError: there is no such key.
    """
    if not isinstance(preprocessing, str):
        return dict(preprocessing)
    check_choice("preprocessing", preprocessing, PREPROCESSING)
    return PREPROCESSING[preprocessing]
