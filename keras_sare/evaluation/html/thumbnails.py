"""Small JPEG pictures inside of a page."""

import base64
import io
import os
from collections.abc import Sequence

from PIL import Image

from keras_sare.evaluation.plots.pictures import Picture, open_picture

WIDTH = 200
QUALITY = 70


class Thumbnails:
    """Pictures as data URIs, each file read once, whose bytes together are bounded.

    Args:
        max_bytes: of all of them; what comes later has none.
        orientation: "upright" or "stored", as `keras_sare.datasets.decode_image` reads files.
    """

    def __init__(self, max_bytes: int, orientation: str = "upright") -> None:
        self.left = max_bytes
        self._orientation = orientation
        self._made: dict[str, str] = {}

    def of(self, path: str) -> str:
        """The data URI of a file's picture; "" where the file is missing or the bytes are spent."""
        if path not in self._made:
            self._made[path] = self._add(path) if os.path.isfile(path) else ""
        return self._made[path]

    def all_of(self, paths: Sequence[str]) -> list[str]:
        """Of several files."""
        return [self.of(path) for path in paths]

    def _add(self, picture: Picture) -> str:
        uri = data_uri(open_picture(picture, self._orientation))
        if len(uri) > self.left:
            return ""
        self.left -= len(uri)
        return uri


def data_uri(picture: Image.Image) -> str:
    """A picture as a JPEG of at most `WIDTH` x `WIDTH` pixels inside of an address."""
    picture = picture.copy()
    picture.thumbnail((WIDTH, WIDTH))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
