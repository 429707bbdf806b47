"""Photos that an export is tried and warmed up with."""

import io

import numpy as np
from PIL import Image

from keras_sare.datasets.town.canvas import TEXELS
from keras_sare.datasets.town.facades import GroundStyle, UpperStyle, draw_facade

_WIDTH = 10.0


def sample_photo(number: int, size: tuple[int, int], file_format: str = "JPEG") -> bytes:
    """Renders a house front: unlike noise it has edges and areas, as a photo has, and compresses as well.

    Args:
        number: of the house; the same number gives the same bytes.
        size: (height, width) in pixels.
        file_format: a format of Pillow, for example "PNG".

    Returns:
        The contents of an image file.
    """
    rng = np.random.default_rng(number)
    front = draw_facade(UpperStyle.draw(rng), GroundStyle.draw(rng, number), _WIDTH, rng)
    # Row 0 is the pavement, and above the roof there is nothing.
    pixels = front.albedo[: round(front.height * TEXELS)][::-1]
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((size[1], size[0])).save(buffer, file_format)
    return buffer.getvalue()
