"""How a device reads photos for a model."""

from typing import Any

import numpy as np

from export.source import Size
from keras_sare.datasets import ShorterSide


def reading(size: Size, orientation: str = "upright", antialias: bool = True) -> dict[str, Any]:
    """Arguments of `export.localise.read_photo`, which the index holds under their names.

    Args:
        size: (height, width) that images are resized to, the limit of their longer side, or a `ShorterSide`.
        orientation: "upright" or "stored".
        antialias: whether images that shrink are antialiased.
    """
    sides = np.atleast_1d(np.asarray(size, np.int64)).tolist()
    return {
        "size": sides,
        "shorter": isinstance(size, ShorterSide),
        "orientation": orientation,
        "antialias": antialias,
    }
