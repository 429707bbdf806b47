"""Photos with what a model looks at laid over them."""

import keras
import numpy as np
from matplotlib import colormaps
from PIL import Image

from keras_sare.evaluation.plots.pictures import open_picture
from keras_sare.extraction.attention.maps import assignment_map, contribution_map, maximal_map, occlusion_map
from keras_sare.layers import MAC, NetVLAD
from keras_sare.utils.arguments import plain_arguments

LONGER_SIDE = 160
_BOXES = 8
_MOST_OPAQUE = 0.8


class LookedAt:
    """Pictures of a query and its match, by what they show: occlusion, contributions, and those of the pooling.

    Args:
        model: one of `keras_sare.models.build`.
        orientation: how photos are read, "upright" or "stored".
        longer_side: pixels that photos have at most.
    """

    @plain_arguments
    def __init__(self, model: keras.Model, orientation: str = "upright", longer_side: int = LONGER_SIDE) -> None:
        self.model = model
        self.orientation = orientation
        self.longer_side = longer_side

    def __call__(self, query: str, match: str) -> dict[str, Image.Image]:
        """Pictures of both files, by what they show."""
        photos = {"query": self._read(query), "match": self._read(match)}
        arrays = {name: np.asarray(photo, np.float32) for name, photo in photos.items()}
        described = {name: np.asarray(self.model(one[None], training=False))[0] for name, one in arrays.items()}
        pictures: dict[str, Image.Image] = {}
        for name, other in (("query", "match"), ("match", "query")):
            maps = self._maps(arrays[name], described[other])
            pictures |= {f"{what}, {name}": overlay(photos[name], map_) for what, map_ in maps.items()}
        return pictures

    def _maps(self, image: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
        step = max(1, max(image.shape[:2]) // _BOXES)
        maps = {
            "similarity lost under a grey box": occlusion_map(self.model, image, target, 2 * step, step),
            "contribution to the similarity": contribution_map(self.model, image, target),
        }
        if any(isinstance(layer, NetVLAD) for layer in self.model.layers):
            maps["NetVLAD's clusters"] = assignment_map(self.model, image).argmax(axis=-1)
        if any(isinstance(layer, MAC) for layer in self.model.layers):
            maps["MAC's maximal patches"] = maximal_map(self.model, image)
        return maps

    def _read(self, path: str) -> Image.Image:
        photo = open_picture(path, self.orientation)
        photo.thumbnail((self.longer_side, self.longer_side))
        return photo


def overlay(photo: Image.Image, values: np.ndarray) -> Image.Image:
    """Lays a map over a photo: the greatest values bright, those of 0 and below dark; clusters each in a colour.

    Args:
        photo: RGB.
        values: [rows, columns]; whole numbers are numbers of clusters.
    """
    if np.issubdtype(values.dtype, np.integer):
        colours = colormaps["tab20"](values % 20)[..., :3]
        resample = Image.Resampling.NEAREST
    else:
        colours = colormaps["inferno"](shares_of_greatest(values))[..., :3]
        resample = Image.Resampling.BILINEAR
    layer = Image.fromarray((255 * colours).astype(np.uint8)).resize(photo.size, resample)
    return Image.blend(photo, layer, 0.5)


def glow(values: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A map as a picture to lay over a photo: the greatest values bright, those of 0 and below transparent.

    Args:
        values: floating [rows, columns].
        size: width and height of the picture, RGBA.
    """
    shares = shares_of_greatest(values)
    colours = colormaps["inferno"](shares)
    colours[..., 3] = shares * _MOST_OPAQUE
    return Image.fromarray(np.uint8(255 * colours)).resize(size, Image.Resampling.BICUBIC)


def shares_of_greatest(values: np.ndarray) -> np.ndarray:
    """A map's values by the greatest, those below 0 as 0; all 0 where none is above it."""
    positive = np.maximum(values, 0)
    return np.asarray(positive / max(float(positive.max()), 1e-12))
