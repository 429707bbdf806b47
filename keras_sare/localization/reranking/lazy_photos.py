"""Photos that are read when they are asked for: of a folder few need a second look."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from keras_sare.datasets import decode_image, load_image


class LazyPhotos(Sequence[np.ndarray]):
    """Pixels of photos, one in memory at a time.

    Args:
        photos: files, or their contents: JPEG, PNG, WebP or GIF.
        longer_side: pixels that they are made smaller to.
        orientation: "upright" or "stored".
    """

    def __init__(
        self, photos: Sequence[str | Path | bytes], longer_side: int = 480, orientation: str = "upright"
    ) -> None:
        self._photos = photos
        self._longer_side = longer_side
        self._orientation = orientation

    def __len__(self) -> int:
        return len(self._photos)

    @overload
    def __getitem__(self, number: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, number: slice) -> "LazyPhotos": ...
    def __getitem__(self, number: int | slice) -> "np.ndarray | LazyPhotos":
        """One photo, float32 [height, width, 3], RGB in 0..255; or some, not yet read.

        Raises:
            ValueError: a file cannot be read.
            tf.errors.InvalidArgumentError: contents cannot be decoded.
        """
        if isinstance(number, slice):
            return LazyPhotos(self._photos[number], self._longer_side, self._orientation)
        photo = self._photos[number]
        if isinstance(photo, bytes):
            return np.asarray(decode_image(photo, self._longer_side, orientation=self._orientation))
        return load_image(photo, self._longer_side, orientation=self._orientation)

    def of(self, numbers: Sequence[int]) -> "LazyPhotos":
        """Those with these numbers, not yet read."""
        return LazyPhotos([self._photos[number] for number in numbers], self._longer_side, self._orientation)

    def read_as(self, longer_side: int, orientation: str) -> "LazyPhotos":
        """The same photos, read in another way."""
        return LazyPhotos(self._photos, longer_side, orientation)
