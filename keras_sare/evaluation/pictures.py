"""What all pictures of an evaluation share: colours, marks, reading of photos, writing of files."""

import os

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from keras_sare.utils.files import atomic_path

Picture = np.ndarray | str | os.PathLike[str]
"""uint8 `[H, W, 3]` RGB, or the path of an image file."""

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, told apart by colour-blind readers too."""

MARKERS = ("o", "s", "^", "D", "v", "P")
RIGHT, WRONG, NEUTRAL = "#1a7f37", "#cf222e", "#57606a"

_DPI = 150


def open_picture(picture: Picture, upright: bool = True) -> Image.Image:
    """Opens a picture as RGB.

    Args:
        picture: array or file.
        upright: whether a file is turned as it says that it is to be shown (EXIF); otherwise as its pixels are stored.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an array is no RGB picture.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                "`rows` must hold pictures as uint8 [H, W, 3] or as paths. "
                f"Received: dtype={picture.dtype}, shape={picture.shape}"
            )
        return Image.fromarray(picture)
    with Image.open(picture) as opened:
        return (ImageOps.exif_transpose(opened) if upright else opened).convert("RGB")


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure to a PNG file, which appears whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
