"""How a model wants images to be resized."""

import keras

from keras_sare.layers import ImagePreprocessing


def antialiases(model: keras.Model) -> bool:
    """Whether images are antialiased where they are made smaller for a model.

    It belongs to the preprocessing that the weights were trained with, and is kept in the model's first layer: without
    antialiasing the VG benchmark's descriptors come back, with it those of nearly all other projects.

    Args:
        model: any; without an `ImagePreprocessing` layer the answer is yes.
    """
    return all(layer.antialias for layer in model.layers if isinstance(layer, ImagePreprocessing))
