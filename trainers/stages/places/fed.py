"""The part of a model that places feed."""

import keras

from keras_sare import models
from keras_sare.training import Places


def fed(model: keras.Model, places: Places, train_from: str) -> keras.Model:
    """The part of a model that takes what the places give: all of it, or what follows the stored output.

    Args:
        model: a whole one.
        places: whose inputs it is to take.
        train_from: first layer that follows the frozen ones.
    """
    return models.split(model, train_from)[1] if places.stored else model
