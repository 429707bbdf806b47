"""`build`: from a preset's name to a Keras model."""

import os
from collections.abc import Callable

import keras

from keras_sare.layers import MAC, NetVLAD
from keras_sare.models.backbones import BACKBONES, PREPROCESSING
from keras_sare.models.imagenet import imagenet_weights
from keras_sare.models.presets import find_preset
from keras_sare.models.weight_files import ConvolutionWeights, read_convolutions, set_convolutions

POOLINGS: dict[str, Callable[[int], keras.layers.Layer]] = {
    "netvlad": lambda clusters: NetVLAD(clusters, name="netvlad"),
    "mac": lambda clusters: MAC(name="mac"),
}


def build(
    name: str,
    weights: str | os.PathLike[str] | None = "imagenet",
    *,
    preprocessing: str | None = None,
    clusters: int = 64,
) -> keras.Model:
    """Builds a model that turns images into L2-normalised descriptors.

    The model takes RGB images in 0..255, `[batch, height, width, 3]`, uint8 or floating, of any height and width, and
    returns float32 `[batch, dim]`. The preprocessing that the weights want is its first layer.

    A NetVLAD model starts without clusters: give it k-means centres with `initialise_netvlad`.

    Args:
        name: a preset, for example "vgg16_netvlad" (32768-D) or "vgg16_mac" (512-D); see `PRESETS`.
        weights: "imagenet" (fetched once per user, see `imagenet_weights`), a local file (`.h5` of keras.applications'
            layout, `.npz`, or `.weights.h5` saved from the same preset), or None for random weights.
        preprocessing: "caffe" (BGR minus mean; keras.applications) or "torch" (RGB/255, mean and std; torchvision).
            Only needed for a file whose weights are not known.
        clusters: number of NetVLAD clusters.

    Returns:
        A functional `keras.Model` with the layers named as in the papers (conv1_1 .. conv5_3, netvlad).

    Raises:
        ValueError: unknown name, unknown preprocessing, or a weights file of another network.
        RuntimeError: ImageNet weights could not be fetched from any source.

    Example:

    >>> model = keras_sare.models.build("vgg16_netvlad")
    >>> descriptors = model(images)
    """
    preset = find_preset(name)
    if preprocessing is not None and preprocessing not in PREPROCESSING:
        raise ValueError(
            f"`preprocessing` must be one of {', '.join(PREPROCESSING)}. Received: preprocessing={preprocessing!r}"
        )
    convolutions: ConvolutionWeights | None = None
    if weights == "imagenet":
        convolutions = imagenet_weights(preset.backbone)
    elif weights is not None and not str(weights).endswith(".weights.h5"):
        convolutions = read_convolutions(weights, preprocessing)
    if convolutions is not None:
        preprocessing = preprocessing or convolutions.preprocessing

    features = BACKBONES[preset.backbone](preset.cut, preset.relu, preprocessing or "caffe")
    if convolutions is not None:
        set_convolutions(features, convolutions)
    model = keras.Model(features.input, POOLINGS[preset.pooling](clusters)(features.output), name=name)
    if weights is not None and convolutions is None:
        _load_own_weights(model, weights)
    return model


def _load_own_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    try:
        model.load_weights(path)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"`weights` must be a file that `save_weights` wrote from the preset {model.name!r} with the same "
            f"number of clusters: {str(error).splitlines()[0]} Received: weights={os.fspath(path)!r}"
        ) from error
