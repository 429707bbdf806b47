"""Descriptors of a landmark dataset, as the papers extract them."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sare.datasets.images.image_sizes import image_sizes
from keras_sare.datasets.images.pipeline import image_batches
from keras_sare.datasets.landmarks.landmark_dataset import LandmarkDataset
from keras_sare.extraction.extractor import Extractor
from keras_sare.extraction.named_batches import extract_files
from keras_sare.models.crop_activations import CropActivations
from keras_sare.models.multi_scale import MultiScale
from keras_sare.models.resizing import antialiases
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.arrays import array_within
from keras_sare.utils.choices import check_choice

CROPS = ("image", "activations", "none")
"""What is done with the boxes of queries: Crop_I, Crop_X, nothing."""


@plain_arguments
def extract_landmarks(
    model: keras.Model,
    dataset: LandmarkDataset,
    *,
    longer_side: int = 1024,
    scales: Sequence[float] = (1.0,),
    power: float = 1.0,
    crop: str = "image",
    batch_size: int = 4,
    folder: str | os.PathLike[str],
    memory_limit: float = 4e9,
    orientation: str = "upright",
) -> tuple[np.ndarray, np.ndarray]:
    """Extracts descriptors of the queries and the database of a dataset.

    Args:
        model: gives descriptors [batch, dim] of images [batch, height, width, 3] of any size, for example one of
            `keras_sare.models.build`.
        dataset: queries without boxes are taken whole.
        longer_side: most pixels of an image's longer side; smaller images are not enlarged. A cropped query is scaled
            by the factor of its whole image.
        scales: factors at which every image is extracted once more, see `MultiScale`.
        power: of the mean over the scales, see `MultiScale`.
        crop: what a query's box does. "image" crops the pixels (Crop_I), "activations" crops the feature map of the
            whole image (Crop_X), "none" leaves queries whole.
        batch_size: images of one shape at a time.
        folder: for arrays that exceed `memory_limit`; nothing is left in it.
        memory_limit: bytes of an array in memory. A larger one is a memory map of a nameless file.
        orientation: "upright" or "stored": how images are read, in whose pixels the boxes are; see
            `keras_sare.datasets.decode_image`.

    Returns:
        Descriptors of the queries, float32 [Q, dim], and of the database, float32 [N, dim].

    Raises:
        ValueError: no such crop; or an image is too small for the model, or its descriptor is not finite or zero: its
            file is named.
        RuntimeError: the model fails on an image, for example for lack of memory; the message names it.
        tf.errors.InvalidArgumentError: an image cannot be read; the message names it.
    """
    check_choice("crop", crop, CROPS)

    def extract(extractor: Extractor, batches: Any, side: str) -> np.ndarray:
        paths = getattr(dataset, side)
        return _extract(extractor, batches, paths, f"{dataset.name}, {side}", folder, memory_limit)

    def read(paths: np.ndarray, boxes: np.ndarray | None = None) -> Any:
        return image_batches(paths, longer_side, batch_size, boxes, orientation, antialiases(model))

    extractor = Extractor(_at_scales(model, scales, power))
    if crop == "activations" and dataset.boxes is not None:
        cropping = Extractor(_at_scales(CropActivations(model), scales, power))
        queries = extract(cropping, _with_shares(dataset, read(dataset.queries), orientation), "queries")
    else:
        boxes = dataset.boxes if crop == "image" else None
        queries = extract(extractor, read(dataset.queries, boxes), "queries")
    return queries, extract(extractor, read(dataset.database), "database")


@plain_arguments
def extract_images(
    model: keras.Model,
    paths: np.ndarray,
    name: str,
    *,
    longer_side: int = 1024,
    scales: Sequence[float] = (1.0,),
    power: float = 1.0,
    batch_size: int = 4,
    folder: str | os.PathLike[str],
    memory_limit: float = 4e9,
    orientation: str = "upright",
) -> np.ndarray:
    """Extracts images as `extract_landmarks` extracts a database, for example those that whitening is fitted on.

    Args:
        model: see `extract_landmarks`, as for all that follows but `paths` and `name`.
        paths: [N] image files.
        name: of them, for the progress bar.
        longer_side: most pixels of an image's longer side.
        scales: factors at which every image is extracted once more.
        power: of the mean over the scales.
        batch_size: images of one shape at a time.
        folder: for an array that exceeds `memory_limit`.
        memory_limit: bytes.
        orientation: "upright" or "stored".

    Returns:
        Descriptors, float32 [N, dim].

    Raises:
        ValueError: as `extract_landmarks`, as for the others.
        RuntimeError: the model fails on an image.
        tf.errors.InvalidArgumentError: an image cannot be read.
    """
    extractor = Extractor(_at_scales(model, scales, power))
    batches = image_batches(paths, longer_side, batch_size, None, orientation, antialiases(model))
    return _extract(extractor, batches, paths, name, folder, memory_limit)


def _extract(
    extractor: Extractor,
    batches: Any,
    paths: np.ndarray,
    name: str,
    folder: str | os.PathLike[str],
    memory_limit: float,
) -> np.ndarray:
    out = array_within(memory_limit, (len(paths), *extractor.output_shape), folder)
    return extract_files(extractor, batches, paths, out, name)


def _at_scales(model: Any, scales: Sequence[float], power: float) -> Any:
    return model if tuple(scales) == (1,) else MultiScale(model, scales, power)


def _with_shares(dataset: LandmarkDataset, batches: Any, orientation: str) -> Any:
    """Batches of whole queries, each with its box as shares of the image's width and height."""
    sizes = image_sizes(dataset.queries, orientation)
    shares = dataset.boxes / sizes[:, [1, 0, 1, 0]]
    return ((indices, (images, shares[indices.numpy()])) for indices, images in batches)
