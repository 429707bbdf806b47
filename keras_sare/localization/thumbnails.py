"""Small pictures of photos, as a place index keeps them."""

import io
from pathlib import Path
from typing import IO

from PIL import Image

from keras_sare.datasets.images.orientation import turn_picture

SIDE = 256
"""Pixels of the longer side of a thumbnail."""

_QUALITY = 80
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")


def thumbnail(path: str | Path | IO[bytes], orientation: str = "upright") -> bytes:
    """Makes a thumbnail of a photo that has been found to be readable.

    Args:
        path: of the photo, or its open file.
        orientation: "upright" or "stored", as the model reads it.

    Returns:
        A JPEG file of some ten kilobytes, without EXIF; empty where Pillow refuses the photo.
    """
    try:
        with Image.open(path, formats=_FORMATS) as photo:
            photo.draft("RGB", (2 * SIDE, 2 * SIDE))
            picture = (turn_picture(photo) if orientation == "upright" else photo).convert("RGB")
        picture.thumbnail((SIDE, SIDE))
    except Exception:  # noqa: BLE001  # Pillow raises what it likes.
        return b""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
