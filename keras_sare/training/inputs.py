"""What the trained part of a model is fed: pixels, or the stored output of the frozen part."""

import hashlib
import math
import os
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets import decode_image, image_batches
from keras_sare.models import Extractor
from keras_sare.utils.files import atomic_path


class Inputs(Protocol):
    """Inputs of a model by image id."""

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        """Dataset of (positions in `ids` int64 [batch], inputs [batch, ...])."""

    def gather(self, ids: Any) -> Any:
        """Inputs [n, ...] of the images `ids`, int64 [n]; a TensorFlow function for `dataset.map`."""


class ImageInputs:
    """Pixels, read and decoded every time.

    Args:
        paths: [N] image files; the id of an image is its index.
        size: (height, width) that images are resized to.
    """

    def __init__(self, paths: np.ndarray, size: tuple[int, int]) -> None:
        self.paths, self.size = paths, size

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        """Dataset of (positions in `ids` int64 [batch], images float32 [batch, height, width, 3])."""
        return image_batches(self.paths[ids], self.size, batch_size)

    def gather(self, ids: Any) -> Any:
        """Images float32 [n, height, width, 3] of `ids`."""
        names = tf.numpy_function(lambda rows: self.paths[rows].astype(object), [ids], tf.string, stateful=False)
        names = tf.ensure_shape(names, ids.shape)
        return tf.map_fn(
            lambda name: decode_image(tf.io.read_file(name), self.size),
            names,
            fn_output_signature=tf.TensorSpec((*self.size, 3), tf.float32),
        )


class StoredInputs:
    """Rows of an array, for example the memory-mapped output of a frozen trunk.

    Args:
        array: [N, ...]; the id of an image is its row.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        """Dataset of (positions in `ids` int64 [batch], rows [batch, ...])."""
        positions = tf.data.Dataset.range(len(ids)).batch(batch_size)
        return positions.map(lambda batch: (batch, self.gather(tf.gather(ids, batch)))).prefetch(2)

    def gather(self, ids: Any) -> Any:
        """Rows [n, ...] of `ids`."""
        rows = tf.numpy_function(lambda i: self.array[i], [ids], tf.as_dtype(self.array.dtype), stateful=False)
        return tf.ensure_shape(rows, (None, *self.array.shape[1:]))


def store_trunk(
    folder: str | os.PathLike[str], trunk: keras.Model, images: ImageInputs, batch_size: int
) -> StoredInputs:
    """Computes the output of the frozen part of a model once per image and keeps it on disk as float16.

    The file's name is a digest of the weights, the image size and the image files (path, size and time of change), so
    that a later run with the same ones reads it instead of computing it again. It appears when it is complete.

    Args:
        folder: where the file is kept.
        trunk: frozen part of the model, images to feature maps.
        images: the images.
        batch_size: images in a batch.

    Raises:
        ValueError: the trunk's output does not fit float16.
    """
    path = Path(folder) / f"trunk-{_digest(trunk, images)}.npy"
    shape = _stored_shape(trunk, images)
    if not path.is_file():
        with atomic_path(path) as temporary:
            array = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
            with np.errstate(over="ignore"):
                Extractor(trunk)(images.batches(np.arange(shape[0]), batch_size), shape[0], array, "frozen layers")
            _check_finite(array)
            array.flush()
    return StoredInputs(np.load(path, mmap_mode="r"))


def stored_bytes(trunk: keras.Model, images: ImageInputs) -> int:
    """Size of what `store_trunk` keeps."""
    return 2 * math.prod(_stored_shape(trunk, images))


def _stored_shape(trunk: keras.Model, images: ImageInputs) -> tuple[int, ...]:
    height, width, channels = trunk.compute_output_shape((1, *images.size, 3))[1:]
    return (len(images.paths), height, width, channels)


def _digest(trunk: keras.Model, images: ImageInputs) -> str:
    sha = hashlib.sha256(repr((images.size, trunk.layers[1].get_config())).encode())
    for weight in trunk.weights:
        sha.update(keras.ops.convert_to_numpy(weight).tobytes())
    for path in images.paths:
        status = os.stat(path)
        sha.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return sha.hexdigest()[:16]


def _check_finite(array: np.ndarray) -> None:
    for row, maps in enumerate(array):
        if not np.isfinite(maps).all():
            raise ValueError(
                f"The frozen layers' output of image {row} does not fit float16. Train without the store: it is turned "
                "off by a budget of 0."
            )
