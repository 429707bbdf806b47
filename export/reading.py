"""How a device reads photos for a model."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export.manifest import manifest_path
from export.source import Size
from keras_sare.datasets import ShorterSide


class Reading(NamedTuple):
    """How photos are read for a model.

    Attributes:
        size: (height, width) that they are resized to, the limit of their longer side, or a `ShorterSide`.
        orientation: "upright" or "stored".
        antialias: whether photos that shrink are antialiased.
    """

    size: Size
    orientation: str = "upright"
    antialias: bool = True

    def arguments(self) -> dict[str, Any]:
        """Arguments of `export.localise.read_photo`, which the index holds under their names."""
        return {
            "size": np.atleast_1d(np.asarray(self.size, np.int64)).tolist(),
            "shorter": isinstance(self.size, ShorterSide),
            "orientation": self.orientation,
            "antialias": self.antialias,
        }


def reading_beside(model: Path, size: Size | None = None, orientation: str | None = None) -> Reading:
    """How photos are read for an artefact, as the manifest beside it says.

    Args:
        model: the artefact.
        size: taken instead of the manifest's. It must be given where no manifest lies there.
        orientation: the same; without it and a manifest photos are read upright.

    Raises:
        FileNotFoundError: no manifest lies there, and no size is given.
    """
    path = manifest_path(model)
    try:
        known = json.loads(path.read_text())["preprocessing"]
        resize = known["resize"]
        # Manifests of earlier versions say the size only.
        written = Reading(_size(resize), known.get("orientation", "upright"), resize.get("antialias", True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if size is None:
            raise FileNotFoundError(
                "`image_size` must say what images the model is for where no manifest lies beside it, for example "
                f"--image_size=480,640. Received: model={str(model)!r} without {path.name}"
            ) from error
        written = Reading(size)
    return Reading(size or written.size, orientation or written.orientation, written.antialias)


def _size(resize: dict[str, int]) -> Size:
    if "shorter_side" in resize:
        return ShorterSide(resize["shorter_side"])
    return resize["longer_side"] if "longer_side" in resize else (resize["height"], resize["width"])
