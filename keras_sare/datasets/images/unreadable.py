"""Why a file cannot be used as an image."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.orientation import exif_orientation, turn_upright
from keras_sare.datasets.images.pixels import decode_pixels, resize, why_undecodable
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
def why_unreadable(
    path: str | os.PathLike[str],
    box: np.ndarray | None = None,
    orientation: str = "upright",
    max_pixels: int | None = None,
) -> str | None:
    """Tells why a file cannot be decoded, or cropped to a box; every reader of files says it in these words.

    Args:
        path: the file.
        box: x1, y1, x2, y2 that it is to be cropped to.
        orientation: that it is to be read in.
        max_pixels: the most pixels (height times width) of the file; by default what `set_max_pixels` set.

    Returns:
        None where nothing is wrong, else "missing", "empty file", "not a JPEG, PNG, GIF or WebP image", "truncated or
        damaged", "an animation", "too large: declares 16383 x 16383 pixels, at most 128000000 are read (max_pixels)",
        "too many scans: 900 of 4000 x 3000 pixels", that the box holds no pixel, or what the operating system says.
    """
    try:
        contents = Path(path).read_bytes()
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte.
        return getattr(error, "strerror", None) or str(error)
    if not contents:
        return "empty file"
    try:
        with tf.device("CPU:0"):
            pixels = decode_pixels(contents, max_pixels)
    except tf.errors.InvalidArgumentError:
        return why_undecodable(contents, max_pixels).numpy().decode()
    return None if box is None else _reason_of_box(pixels, box, contents, orientation)


def cannot_read(
    path: str, box: np.ndarray | None = None, orientation: str = "upright", max_pixels: int | None = None
) -> str:
    """Message for an image file that could not be read, with the reason; arguments as of `why_unreadable`."""
    reason = why_unreadable(path, box, orientation, max_pixels) or "reading failed once, and succeeded when tried again"
    return f"Cannot read image {path}: {reason}"


def _reason_of_box(pixels: Any, box: np.ndarray, contents: bytes, orientation: str) -> str | None:
    try:
        with tf.device("CPU:0"):
            if orientation == "upright":
                pixels = turn_upright(pixels, exif_orientation(contents))
            height, width, _ = pixels.shape
            resize(pixels, None, box)
    except tf.errors.InvalidArgumentError:
        return f"its box {box.tolist()} (x1, y1, x2, y2) holds no pixel of its {width} x {height}"
    return None
