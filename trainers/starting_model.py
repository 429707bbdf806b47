"""The model that a training starts from, where that is a whole model of the user's own."""

import logging
from collections.abc import Collection
from pathlib import Path

import keras
import numpy as np

from keras_sare import models
from keras_sare.models.model_file import check_descriptors, open_model_file

logger = logging.getLogger("keras_sare.starting_model")

OF_THE_FILE = ("model", "clusters", "preprocessing")
"""Flags that a `.keras` file takes the place of."""


def is_model_file(weights: str) -> bool:
    """Whether weights are a whole model, a `.keras` file, and not those of a backbone."""
    return weights.endswith(".keras")


def check_start(weights: str, given: Collection[str]) -> None:
    """Checks that the flags do not contradict the model that they name.

    Args:
        weights: of the flag of that name.
        given: names of the flags on the command line.

    Raises:
        ValueError: the weights are a whole model, and a flag says what only its file does.
    """
    contradicting = [name for name in OF_THE_FILE if name in given]
    if is_model_file(weights) and contradicting:
        flags = ", ".join(f"--{name}" for name in contradicting)
        raise ValueError(
            f"`{contradicting[0]}` must not be given with a .keras file, which is a whole model and keeps its network, "
            f"clusters and preprocessing: leave out {flags}. Received: --weights={weights}, {flags}"
        )


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
