"""Images of a limited longer side, cut to one of few sizes instead of being distorted."""

import logging
from typing import Any

import numpy as np

from keras_sare.datasets import load_image
from keras_sare.datasets.images.image_sizes import fitted_size, image_sizes
from keras_sare.extraction.inputs import ImageInputs, StoredInputs

logger = logging.getLogger(__name__)

MULTIPLE = 16
"""Pixels that sizes are cut to a multiple of: the stride of VGG16's last convolutions."""


class CroppedImageInputs(ImageInputs):
    """Pixels of images that are scaled, each to a size of its own, and cut around their middle to one size.

    Args:
        paths: [N] image files; the id of an image is its index.
        scaled: int64 [N, 2], (height, width) that each is resized to, at least `size`.
        size: (height, width) that is left.
        longer_side: that `scaled` comes from; only for the `key`.
        orientation: "upright" or "stored"; that `scaled` comes from.
        antialias: whether images that shrink are antialiased; see `keras_sare.models.antialiases`.
    """

    def __init__(
        self,
        paths: np.ndarray,
        scaled: np.ndarray,
        size: tuple[int, int],
        longer_side: int,
        orientation: str = "upright",
        antialias: bool = True,
    ) -> None:
        super().__init__(paths, size, orientation, antialias)
        self.scaled = scaled
        # Of an image that is no larger, another limit may leave the same size with other pixels.
        self.key = ("longer side", longer_side, *self.key)

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        """Dataset of (positions in `ids` int64 [batch], images float32 [batch, height, width, 3])."""
        return StoredInputs(self).batches(ids, batch_size)

    def _load(self, image: int) -> np.ndarray:
        scaled_height, scaled_width = self.scaled[image].tolist()
        pixels = load_image(
            str(self.paths[image]), (scaled_height, scaled_width), None, self.orientation, self.antialias
        )
        height, width = self.size
        top = (scaled_height - height) // 2
        left = (scaled_width - width) // 2
        return pixels[top : top + height, left : left + width]


def crop_images(
    paths: np.ndarray, longer_side: int, orientation: str = "upright", antialias: bool = True
) -> list[tuple[np.ndarray, CroppedImageInputs]]:
    """Sorts images by the size that `cropped_size` gives them.

    Args:
        paths: [N] image files.
        longer_side: pixels, at least 16.
        orientation: "upright" or "stored"; see `keras_sare.datasets.decode_image`.
        antialias: whether images that shrink are antialiased.

    Returns:
        For each size that occurs, ascending: ids int64 [n], ascending, indices into `paths`; and the images, whose ids
        are indices into these.

    Raises:
        ValueError: `longer_side` is too small, or an image cannot be read; the message names it.
    """
    originals, which = np.unique(image_sizes(paths, orientation), axis=0, return_inverse=True)
    sizes = np.array([cropped_size(height, width, longer_side) for height, width in originals.tolist()])
    scaled, cropped = sizes[which.reshape(-1)].transpose(1, 0, 2)
    sizes, part = np.unique(cropped, axis=0, return_inverse=True)
    parts = []
    for number, (height, width) in enumerate(sizes.tolist()):
        ids = np.flatnonzero(part.reshape(-1) == number)
        parts.append(
            (ids, CroppedImageInputs(paths[ids], scaled[ids], (height, width), longer_side, orientation, antialias))
        )
    logger.info("Sizes of images: %d different ones of %d images, longer side %d", len(parts), len(paths), longer_side)
    return parts


def cropped_size(height: int, width: int, longer_side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """How an image is scaled and cut, so that there are few different sizes and nothing is distorted.

    The longer side is limited as `fitted_size` says, and any side that is shorter than the limit is cut down to a
    multiple of 16. Where fewer pixels are lost that way, the shorter side is scaled up to the next multiple instead and
    the longer one cut to the limit, as 3:4 is, which would have 362 x 271 pixels: 362 x 272 of 363 x 272. Either way at
    most 15 pixels of an edge are lost, and nothing is enlarged. For a limit of 362 there are 45 different sizes, where
    no image is smaller than that.

    Only an image whose shorter side would have less than 16 pixels is scaled to 16 there whatever is lost: the middle
    of the longer side is left.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        longer_side: pixels that the longer side has at most, at least 16.

    Returns:
        (height, width) that the image is scaled to, and (height, width) that is left of that.

    Raises:
        ValueError: `longer_side` is too small.
    """
    if longer_side < MULTIPLE:
        raise ValueError(f"`longer_side` must be at least {MULTIPLE} pixels. Received: longer_side={longer_side}")
    scaled = fitted_size(height, width, longer_side)
    shorter, longer = sorted((height, width))
    lost = min(scaled) % MULTIPLE
    higher = min(min(scaled) - lost + MULTIPLE, longer_side)
    lost_if_higher = longer * higher / shorter - longer_side
    if higher == MULTIPLE or (higher <= shorter and lost_if_higher < lost):
        scaled = round(height * higher / shorter), round(width * higher / shorter)
    kept_height, kept_width = (side - side % MULTIPLE if side < longer_side else longer_side for side in scaled)
    return scaled, (kept_height, kept_width)
