"""What the trained part of a model is fed: pixels, or the stored output of the frozen part."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from keras_sare.datasets import image_batches, load_image
from keras_sare.datasets.images.pipeline import as_it_is, as_written

_DECODERS = ThreadPoolExecutor(max(4, os.cpu_count() or 1), "decode")


class Inputs(Protocol):
    """Inputs of a model by image id."""

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        """Dataset of (positions in `ids` int64 [batch], inputs [batch, ...])."""

    def gather(self, ids: Any) -> Any:
        """Inputs [n, ...] of the images `ids`, int64 [n]; a TensorFlow function for `dataset.map`.

        Of images of unlike sizes: {"values": [n, height, width, channels] padded to one size, "sizes": int32 [n, 2]}.
        """


class Rows(Protocol):
    """What `StoredInputs` reads: an array, a `FeatureStore`, or `ImageInputs`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, ...]."""

    @property
    def dtype(self) -> np.dtype:
        """Of the rows."""

    def __getitem__(self, ids: Any, /) -> np.ndarray:
        """Rows [n, ...] of `ids`, int64 [n] in any order."""


class ImageInputs:
    """Pixels, read and decoded every time.

    Args:
        paths: [N] image files; the id of an image is its index.
        size: (height, width) that images are resized to.
        orientation: "upright" or "stored"; see `keras_sare.datasets.decode_image`.
        antialias: whether images that shrink are antialiased; see `keras_sare.models.antialiases`.

    Attributes:
        key: what the pixels depend on, besides the files.
    """

    def __init__(
        self, paths: np.ndarray, size: tuple[int, int], orientation: str = "upright", antialias: bool = True
    ) -> None:
        self.paths = paths
        self.size = size
        self.orientation = orientation
        self.antialias = antialias
        self.shape = (len(paths), *size, 3)
        self.dtype = np.dtype(np.float32)
        self.key: tuple[Any, ...] = (*size, orientation, antialias)

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        """Dataset of (positions in `ids` int64 [batch], images float32 [batch, height, width, 3])."""
        return image_batches(self.paths[ids], self.size, batch_size, None, self.orientation, self.antialias)

    def gather(self, ids: Any) -> Any:
        """Images float32 [n, height, width, 3] of `ids`."""
        return StoredInputs(self).gather(ids)

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        """Images float32 [n, height, width, 3] of `ids`, int64 [n].

        Raises:
            ValueError: an image cannot be read; the message names it.
        """
        return np.stack(list(_DECODERS.map(self._load, ids.tolist())))

    def _load(self, image: int) -> np.ndarray:
        return load_image(str(self.paths[image]), self.size, None, self.orientation, self.antialias)


class StoredInputs:
    """Rows of an array, for example the stored output of a frozen trunk.

    Args:
        array: [N, ...]; the id of an image is its row.
    """

    def __init__(self, array: Rows) -> None:
        self.array = array

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        """Dataset of (positions in `ids` int64 [batch], rows [batch, ...])."""
        positions = tf.data.Dataset.range(len(ids)).batch(batch_size)
        rows = positions.map(as_written(lambda batch: (batch, self.gather(tf.gather(ids, batch)))))
        return rows.prefetch(2).with_options(as_it_is())

    def gather(self, ids: Any) -> Any:
        """Rows [n, ...] of `ids`."""
        rows = tf.numpy_function(lambda i: self.array[i], [ids], tf.as_dtype(self.array.dtype), stateful=False)
        return tf.ensure_shape(rows, (*ids.shape, *self.array.shape[1:]))
