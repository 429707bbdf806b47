"""Models: `build` by name, ImageNet weights, NetVLAD initialisation, splitting and whitening."""

from keras_sare.models.build import build
from keras_sare.models.extractor import Extractor
from keras_sare.models.imagenet import imagenet_weights
from keras_sare.models.initialise import initialise_netvlad, netvlad_layer, warn_if_uninitialised
from keras_sare.models.presets import PRESETS, Preset
from keras_sare.models.surgery import freeze_before, split, with_whitening

__all__ = [
    "PRESETS",
    "Extractor",
    "Preset",
    "build",
    "freeze_before",
    "imagenet_weights",
    "initialise_netvlad",
    "netvlad_layer",
    "split",
    "warn_if_uninitialised",
    "with_whitening",
]
