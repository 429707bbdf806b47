"""Sizes of image files from their headers, and the size an image has when its longer side is limited."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from keras_sare.datasets.images.orientation import (
    check_orientation,
    orientation_of_bytes,
    picture_orientation,
    swaps_sides,
)
from keras_sare.datasets.images.pipeline import Paths
from keras_sare.datasets.images.pixel_limit import pixel_limit
from keras_sare.datasets.images.pixels import decode_pixels
from keras_sare.datasets.images.unreadable import cannot_read, why_unreadable
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress

_THREADS = 16
_FILES_PER_TASK = 64


def image_sizes(paths: Paths, orientation: str = "upright") -> np.ndarray:
    """Reads the sizes of image files from their headers: no pixel is decoded, so a file cut short may pass.

    Args:
        paths: [N] files, JPEG, PNG, GIF or WebP.
        orientation: "upright": of the images as they are read upright; "stored": as they are stored. See
            `decode_image`.

    Returns:
        int64 [N, 2]: (height, width) in pixels.

    Raises:
        ValueError: a file is missing or no such image; the first one is named. Or an unknown `orientation`.
    """
    check_orientation(orientation)
    sizes = np.empty((len(paths), 2), np.int64)
    read = progress(_read_sizes(paths, orientation), "Image sizes", len(paths), "image")
    with warnings.catch_warnings():
        # Pillow's own limit, which is lower than ours.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for row, size in zip(sizes, read, strict=True):
            row[:] = size
    return sizes


@plain_arguments
def fitted_size(height: int, width: int, longer_side: int) -> tuple[int, int]:
    """The size of an image whose longer side is limited: the aspect ratio stays, and nothing is enlarged.

    The shorter side is rounded up or down, to what gives the nearer width/height, the very number that
    `PIL.Image.Image.thumbnail` gives (cirtorch's `imresize`).

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        longer_side: pixels that the longer side has at most.

    Returns:
        (height, width), each at least 1.

    Raises:
        ValueError: an argument is not positive.
    """
    if min(height, width, longer_side) < 1:
        raise ValueError(
            "`height`, `width` and `longer_side` must be at least 1 pixel. "
            f"Received: height={height}, width={width}, longer_side={longer_side}"
        )
    if max(height, width) <= longer_side:
        return height, width
    ratio = width / height
    if height >= width:
        return longer_side, _nearest(longer_side * ratio, lambda side: abs(ratio - side / longer_side))
    return _nearest(longer_side / ratio, lambda side: abs(ratio - longer_side / side)), longer_side


def _nearest(side: float, error: Callable[[int], float]) -> int:
    return min(max(math.floor(side), 1), max(math.ceil(side), 1), key=error)


def _read_sizes(paths: Paths, orientation: str) -> Iterator[tuple[int, int]]:
    with closing(ThreadPool(_THREADS)) as pool:
        yield from pool.imap(partial(_size, orientation), map(str, paths), _FILES_PER_TASK)


def _size(orientation: str, path: str) -> tuple[int, int]:
    try:
        with Image.open(path, formats=("JPEG", "PNG", "GIF", "WEBP")) as image:
            height = image.height
            width = image.width
            swapped = swaps_sides(picture_orientation(image))
    except Exception as error:  # On damaged files and on large ones Pillow raises what it likes.
        height, width, swapped = _size_of_pixels(path, error)
    if height * width > pixel_limit():
        raise ValueError(cannot_read(path))
    return (width, height) if swapped and orientation == "upright" else (height, width)


def _size_of_pixels(path: str, error: Exception) -> tuple[int, int, bool]:
    """The size of a file that Pillow refuses, because of a profile or a text that is too long, but that can be read."""
    if why_unreadable(path) is not None:
        raise ValueError(cannot_read(path)) from error
    contents = Path(path).read_bytes()
    height, width, _ = decode_pixels(contents).shape
    return height, width, swaps_sides(orientation_of_bytes(contents))
