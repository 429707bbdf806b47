"""What all pictures of an evaluation share: colours, marks, reading of photos, writing of files."""

import io
import logging
import os
import warnings

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from keras_sare.datasets.images.orientation import turn_picture
from keras_sare.datasets.images.pipeline import load_image
from keras_sare.utils.files import atomic_path

logger = logging.getLogger(__name__)

Picture = np.ndarray | str | os.PathLike[str]
"""uint8 `[H, W, 3]` RGB, or the path of an image file."""

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, told apart by colour-blind readers too."""

MARKERS = ("o", "s", "^", "D", "v", "P")
RIGHT = "#1a7f37"
WRONG = "#cf222e"
NEUTRAL = "#57606a"

BOX = "#F0E442"
"""Okabe and Ito's yellow, on black: seen on bright and on dark photos, and unlike both frames."""

MAX_PHOTO_BYTES = 2_000_000
"""Of a picture that is made of photos."""

_DPI = 150
_PHOTO_DPI = 100.0
_LEAST_DPI = 10.0


def open_picture(picture: Picture, orientation: str = "upright") -> Image.Image:
    """Opens a picture as RGB.

    Args:
        picture: array or file.
        orientation: "upright": a file is turned as viewers show it; "stored": as its pixels are stored. See
            `keras_sare.datasets.decode_image`.

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
    try:
        with Image.open(picture) as opened:
            return (turn_picture(opened) if orientation == "upright" else opened).convert("RGB")
    except FileNotFoundError:
        raise
    except Exception:  # Pillow refuses files for long texts and profiles too, with errors of every kind.
        return _read_otherwise(picture, orientation)


def _read_otherwise(path: str | os.PathLike[str], orientation: str) -> Image.Image:
    """Reads a file as models read it; a grey picture where that fails too, so that one file spoils no report."""
    try:
        return Image.fromarray(load_image(path, orientation=orientation).astype(np.uint8))
    except ValueError as error:
        logger.warning("A picture shows a grey field: %s", error)
        return Image.new("RGB", (320, 240), NEUTRAL)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure to a PNG file, which appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(_png(figure, _DPI))


def save_photo_figure(figure: Figure, path: str | os.PathLike[str], max_bytes: int = MAX_PHOTO_BYTES) -> None:
    """Writes a figure of photos to a PNG file of 256 colours, which takes a third of the bytes.

    Args:
        figure: its frames keep their very colours.
        path: the file; it appears whole or not at all.
        max_bytes: the figure is drawn with fewer pixels until the file is no larger.
    """
    dpi = _PHOTO_DPI
    while len(data := _with_256_colours(_png(figure, dpi))) > max_bytes and dpi > _LEAST_DPI:
        dpi *= 0.8
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _png(figure: Figure, dpi: float) -> bytes:
    data = io.BytesIO()
    with warnings.catch_warnings():
        # Names of files and places may have letters that the font does not: a box stands for them.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(data, format="png", dpi=dpi)
    return data.getvalue()


def _with_256_colours(png: bytes) -> bytes:
    kept = [tuple(round(255 * value) for value in to_rgb(colour)) for colour in (RIGHT, WRONG, NEUTRAL, BOX)]
    with Image.open(io.BytesIO(png)) as opened:
        image = opened.convert("RGB")
    reduced = image.quantize(256 - len(kept), dither=Image.Dither.NONE)
    indices = np.array(reduced)
    palette = (reduced.getpalette() or [])[: 3 * (256 - len(kept))]
    for colour in kept:
        indices[(np.asarray(image) == colour).all(axis=-1)] = len(palette) // 3
        palette += colour
    result = Image.fromarray(indices, "P")
    data = io.BytesIO()
    result.putpalette(palette)
    result.save(data, "png", optimize=True)
    return data.getvalue()
