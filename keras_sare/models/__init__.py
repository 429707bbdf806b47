"""Models: `build`, `assemble`, ImageNet weights, NetVLAD initialisation, surgery, weights of other projects."""

from keras_sare.models.assemble import POOLINGS, assemble
from keras_sare.models.backbones import BACKBONES, PREPROCESSING
from keras_sare.models.build import build
from keras_sare.models.crop_activations import CropActivations, split_at_pooling
from keras_sare.models.importers.load import load_weights_from, save_weights_as
from keras_sare.models.initialise import initialise_netvlad, netvlad_layer, warn_if_uninitialised
from keras_sare.models.multi_scale import SCALES, MultiScale, scale_power
from keras_sare.models.precision import set_precision
from keras_sare.models.presets import PRESETS, Preset, list_presets
from keras_sare.models.resizing import antialiases
from keras_sare.models.surgery import freeze_before, split, truncated, with_whitening, without_whitening
from keras_sare.models.weights.imagenet import imagenet_weights
from keras_sare.utils.settings import PRECISIONS

__all__ = [
    "BACKBONES",
    "CropActivations",
    "MultiScale",
    "POOLINGS",
    "PRECISIONS",
    "PREPROCESSING",
    "PRESETS",
    "Preset",
    "SCALES",
    "antialiases",
    "assemble",
    "build",
    "freeze_before",
    "imagenet_weights",
    "initialise_netvlad",
    "list_presets",
    "load_weights_from",
    "netvlad_layer",
    "save_weights_as",
    "scale_power",
    "set_precision",
    "split",
    "split_at_pooling",
    "truncated",
    "warn_if_uninitialised",
    "with_whitening",
    "without_whitening",
]
