"""Small JPEG pictures inside of a page."""

import base64
import io
import os

from PIL import Image

from keras_sare.evaluation.plots.pictures import open_picture

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
            self._made[path] = self.add(open_picture(path, self._orientation)) if os.path.isfile(path) else ""
        return self._made[path]

    def add(self, picture: Image.Image) -> str:
        """The data URI of a picture; "" where the bytes are spent."""
        uri = data_uri(picture)
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
