"""The model that a training starts from, where that is a whole model of the user's own."""

import logging
from pathlib import Path

import keras
import numpy as np

from keras_sare import models
from keras_sare.models.model_file import check_descriptors, open_model_file

logger = logging.getLogger("keras_sare.starting_model")


def open_start(weights: str, size: tuple[int, int]) -> keras.Model:
    """Opens a whole model to go on from.

    A fitted whitening at its end is taken off: it is fitted anew to what the model becomes. All else is kept as it is.

    Args:
        weights: a `.keras` file, such as `model.keras` of a run.
        size: (height, width) of an image to try it on.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no such model, or one that gives no descriptors of norm 1.
    """
    whole = open_model_file(Path(weights))
    model = models.without_whitening(whole)
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype("float32")
    check_descriptors(model, image, f"weights={weights!r}, images of {size[0]} x {size[1]}")
    models.set_precision(model, "float32")
    taken_off = "" if model is whole else ", without its whitening, which is fitted anew"
    logger.info("Starting from %s: %s of %d dimensions%s", weights, model.name, model.output.shape[-1], taken_off)
    return model
