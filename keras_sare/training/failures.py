"""What stopped a run, in words."""

import re

import numpy as np
import tensorflow as tf

from keras_sare.datasets import find_corrupt
from keras_sare.training.data.training_images import TrainingImages


def file_names(images: TrainingImages, tuples: np.ndarray) -> list[list[str]]:
    """Files of tuples of image ids."""
    names: list[list[str]] = images.paths[tuples].tolist()
    return names


def unreadable_image(error: tf.errors.OpError) -> str:
    """Which image could not be read, and why, where the error's message tells; else empty."""
    named = re.search(r"Cannot read image .+", error.message or "")
    return named[0] if named else ""


def name_unreadable(error: tf.errors.OpError, images: TrainingImages, tuples: np.ndarray) -> tf.errors.OpError:
    """Makes an error that names the files out of one of a decoder, which does not.

    Args:
        error: what TensorFlow raised.
        images: those that were read are among them.
        tuples: int64 [n, tuple size] ids of the images that were being read; all of them are tried.

    Returns:
        `error` itself where it names its file, or where all images can be read.
    """
    if unreadable_image(error):
        return error
    paths = np.unique(np.ravel(file_names(images, tuples)))
    reasons = "; ".join(f"Cannot read image {paths[i]}: {reason}" for i, reason in find_corrupt(paths).items())
    return tf.errors.InvalidArgumentError(None, None, reasons) if reasons else error
