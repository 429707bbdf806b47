"""Descriptors of images in one call: a folder, a list of files, or pixels."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.image_folder import ImageFolder
from keras_sare.datasets.images.pipeline import image_batches
from keras_sare.datasets.images.pixels import Size
from keras_sare.extraction.extractor import Extractor
from keras_sare.extraction.named_batches import errors_of_files, extract_files
from keras_sare.models.resizing import antialiases
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.arrays import array_within

_NAME = "descriptors"

Images = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | np.ndarray


@plain_arguments
def extract(
    model: keras.Model,
    images: Images,
    size: Size | int | None = None,
    *,
    batch_size: int = 8,
    orientation: str = "upright",
    out: np.ndarray | None = None,
    memory_limit: float = 4e9,
) -> np.ndarray:
    """Extracts the descriptors of images, with a progress bar.

    Files are read while the model computes; only a few batches of pixels are in memory at a time. Whether images that
    shrink are antialiased is the model's own, see `keras_sare.models.antialiases`.

    Args:
        model: gives descriptors [batch, dim] of images [batch, height, width, 3], RGB in 0..255, for example one of
            `keras_sare.models.build`.
        images: a folder, of which all image files are taken in the order of their paths; or [N] image files; or pixels
            [N, height, width, 3], which are taken as they are.
        size: (height, width) that files are resized to, or the most pixels of their longer side, or None for the size
            that each file has; see `keras_sare.datasets.decode_image`.
        batch_size: images at a time; without (height, width), images of one shape.
        orientation: "upright" or "stored": how files are read; see `keras_sare.datasets.decode_image`.
        out: float32 array [N, dim] to fill, for example a `np.memmap`.
        memory_limit: bytes. Without `out`, a larger result is a memory map of a nameless temporary file.

    Returns:
        Descriptors, float32 [N, dim], in the order of the images.

    Raises:
        ValueError: there is no image, a file cannot be read, or an image is too small for the model or gives no finite
            descriptor; the message names the file.
        RuntimeError: the model fails on an image, for example for lack of memory; the message names it.

    Example:

        dataset = keras_sare.open_dataset("pitts30k")
        descriptors = keras_sare.extract(model, dataset.queries.paths, size=(480, 640))
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
    extractor = Extractor(model)
    if isinstance(images, np.ndarray) and images.dtype.kind in "buif":
        _check_pixels(images, size)
        target = _target(out, extractor, len(images), memory_limit)
        return extractor(_pixel_batches(images, batch_size), len(images), target, _NAME)
    paths = _paths(images)
    target = _target(out, extractor, len(paths), memory_limit)
    batches = image_batches(paths, size, batch_size, None, orientation, antialiases(model))
    with errors_of_files():
        return extract_files(extractor, batches, paths, target, _NAME)


def _paths(images: Images) -> np.ndarray:
    if isinstance(images, str | os.PathLike):
        return ImageFolder(images).paths()
    paths = np.array([os.fspath(path) for path in images], dtype=np.dtypes.StringDType())
    if not len(paths):
        raise ValueError("`images` must name at least one image file. Received: none")
    return paths


def _check_pixels(images: np.ndarray, size: Any) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ValueError(
            "`images` must be pixels [N, height, width, 3], N at least 1, or paths of image files. "
            f"Received: images.shape={images.shape}"
        )
    if size is not None and size != images.shape[1:3]:
        raise ValueError(
            "`size` must be None for pixels, which are taken as they are; resize them before, or pass paths. "
            f"Received: size={size}, images.shape={images.shape}"
        )


def _pixel_batches(images: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, Any]]:
    for start in range(0, len(images), batch_size):
        indices = np.arange(start, min(start + batch_size, len(images)))
        yield indices, tf.constant(images[indices], tf.float32)


def _target(out: np.ndarray | None, extractor: Extractor, count: int, memory_limit: float) -> np.ndarray:
    shape = count, *extractor.output_shape
    if out is None:
        return array_within(memory_limit, shape, tempfile.gettempdir())
    if out.shape != shape:
        raise ValueError(f"`out` must have the shape {shape}. Received: out.shape={out.shape}")
    return out
