"""Models of pixels: photos are decoded here, as for training."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.pipeline import bytes_decoder
from keras_sare.datasets.images.pixels import ShorterSide, Size, why_undecodable
from keras_sare.extraction.extractor import DescriptionError
from keras_sare.extraction.photo_blocks.unusable import UnusablePhotoError
from keras_sare.utils.error_text import one_line

_BATCHES = 4
"""Of photos of unlike shapes, that are sorted into batches together."""
_LONGEST_SHAPE = 8


class PixelModel:
    """A `BlockModel` of what describes batches of one shape.

    Args:
        name: see `BlockModel`, and so for `identity` and `preprocessing`.
        identity: see `name`.
        preprocessing: see `name`.
        decode: bytes of a photo to pixels [height, width, 3], RGB in 0..255; it raises UnusablePhotoError.
        describe: float32 [b, height, width, 3] to [b, dim]; it raises DescriptionError with the numbers of those that
            have none.
        size: that `decode` gives: (height, width), the limit of the longer side, or a `ShorterSide`.
        batch: images at a time.
    """

    def __init__(
        self,
        name: str,
        identity: str,
        preprocessing: dict[str, Any],
        decode: Callable[[bytes], np.ndarray],
        describe: Callable[[np.ndarray], np.ndarray],
        size: Size | int,
        batch: int,
    ) -> None:
        self.name = name
        self.identity = identity
        self.preprocessing: dict[str, Any] | None = preprocessing
        self.block = batch * (_BATCHES if isinstance(size, int) else 1)
        self.item_bytes = _most_bytes(size)
        self.prepare = decode
        self._describe = describe
        self._batch = batch

    def describe(self, items: Sequence[np.ndarray]) -> tuple[np.ndarray, list[str]]:
        """See `BlockModel.describe`."""
        shapes: dict[tuple[int, ...], list[int]] = {}
        for number, pixels in enumerate(items):
            shapes.setdefault(pixels.shape, []).append(number)
        rows: list[np.ndarray | None] = [None] * len(items)
        errors = [""] * len(items)
        for alike in shapes.values():
            for start in range(0, len(alike), self._batch):
                self._describe_batch(items, alike[start : start + self._batch], rows, errors)
        dim = next((len(row) for row in rows if row is not None), 0)
        nothing = np.zeros(dim, np.float32)
        return np.array([nothing if row is None else row for row in rows], np.float32).reshape(len(items), dim), errors

    def _describe_batch(
        self, items: Sequence[np.ndarray], numbers: list[int], rows: list[np.ndarray | None], errors: list[str]
    ) -> None:
        while numbers:
            images = np.stack([items[number] for number in numbers]).astype(np.float32, copy=False)
            try:
                described = self._describe(images)
            except DescriptionError as error:
                bad = {numbers[index] for index in error.indices.tolist()}
                reason = one_line(error)
                for number in bad:
                    errors[number] = reason
                numbers = [number for number in numbers if number not in bad]
            else:
                for number, row in zip(numbers, described, strict=True):
                    rows[number] = row
                return


def pixel_decoder(size: Size | int, orientation: str, antialias: bool) -> Callable[[bytes], np.ndarray]:
    """Makes what decodes photos as training does; arguments as of `keras_sare.datasets.decode_image`."""
    traced = bytes_decoder(size, False, orientation, antialias)

    def decode(contents: bytes) -> np.ndarray:
        file = tf.constant(contents)
        try:
            with tf.device("CPU:0"):
                pixels: np.ndarray = traced(file).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise UnusablePhotoError(why_undecodable(file).numpy().decode(errors="replace")) from error
        return pixels

    return decode


def _most_bytes(size: Size | int) -> int:
    if isinstance(size, ShorterSide):
        return _LONGEST_SHAPE * int(size) ** 2 * 3 * 4
    return size**2 * 3 if isinstance(size, int) else size[0] * size[1] * 3 * 4
