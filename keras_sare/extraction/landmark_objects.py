"""Descriptors and activations of a landmark dataset's queries, for re-ranking by localisation."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.image_sizes import image_sizes
from keras_sare.datasets.images.pipeline import image_batches
from keras_sare.datasets.landmarks.landmark_dataset import LandmarkDataset
from keras_sare.extraction.inference import Inference
from keras_sare.models.crop_activations import crop_features, split_at_pooling, stride
from keras_sare.models.least_side import least_side
from keras_sare.models.resizing import antialiases
from keras_sare.retrieval.reranking.box_descriptor import BoxDescriptor
from keras_sare.retrieval.reranking.query_objects import QueryObjects
from keras_sare.utils.progress import progress


def query_objects(
    model: keras.Model,
    dataset: LandmarkDataset,
    describe: BoxDescriptor,
    longer_side: int = 1024,
    crop: str = "image",
    orientation: str = "upright",
) -> QueryObjects:
    """Extracts the queries' objects as `Reranker` extracts the boxes that it compares with them.

    Args:
        model: one of `keras_sare.models.build`.
        dataset: queries without boxes are taken whole.
        describe: of the `Reranker`.
        longer_side: most pixels of an image's longer side; a crop is scaled by the factor of its whole image.
        crop: what a query's box does: "image" crops the pixels, "activations" the feature map of the whole image,
            "none" nothing.
        orientation: "upright" or "stored": how images are read, in whose pixels the boxes are.

    Raises:
        ValueError: the model has no pooling layer that takes a feature map, or a crop is smaller than it takes; the
            message names it.
        RuntimeError: the model fails on a crop, for example for lack of memory; the message names it.
        tf.errors.InvalidArgumentError: an image cannot be read; the message names it.
    """
    trunk, _ = split_at_pooling(model)
    cell = stride(trunk)
    least = least_side(trunk)
    compute = Inference(trunk, trunk)
    objects: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
    queries = _queries(dataset, longer_side, crop, orientation, antialiases(model))
    for query, images, box in progress(queries, "query objects", len(dataset.queries), "query"):
        if min(images.shape[1:3]) < least:
            raise ValueError(
                f"Cannot extract the {images.shape[1]} x {images.shape[2]} pixels of {dataset.queries[query]} in "
                f"its box: the model takes at least {least} on each side. Leave out boxes that are smaller"
            )
        try:
            [activations] = compute(images).numpy().astype(np.float32, copy=False)
        except tf.errors.OpError as error:
            raise RuntimeError(f"Cannot extract {dataset.queries[query]}: {error.message}") from error
        activations, aspect = _inside_box(activations, images.shape[1:3], box, cell)
        [descriptor] = describe(activations, np.array([[0, 0, *activations.shape[:2]]]))
        objects[query] = descriptor, activations.max(axis=(0, 1)), aspect
    descriptors, maxima, aspects = zip(*(objects[query] for query in sorted(objects)), strict=True)
    return QueryObjects(np.stack(descriptors), np.stack(maxima), np.array(aspects))


def _queries(
    dataset: LandmarkDataset, longer_side: int, crop: str, orientation: str, antialias: bool
) -> Iterator[tuple[int, Any, np.ndarray | None]]:
    """Number, pixels [1, height, width, 3], and the box that their feature map is cropped to, as shares of them."""
    boxes = dataset.boxes if crop == "image" else None
    shares = None
    if crop == "activations" and dataset.boxes is not None:
        shares = np.clip(dataset.boxes / image_sizes(dataset.queries, orientation)[:, [1, 0, 1, 0]], 0, 1)
    # One at a time: queries are few, and hardly two crops have the same shape.
    for (query,), images in image_batches(dataset.queries, longer_side, 1, boxes, orientation, antialias):
        yield int(query), images, None if shares is None else shares[int(query)]


def _inside_box(
    activations: np.ndarray, size: Sequence[int], box: np.ndarray | None, cell: float
) -> tuple[np.ndarray, float]:
    """The part of a feature map in a box, and height divided by width of that box, in pixels."""
    height, width = size
    if box is None:
        return activations, height / width
    x1, y1, x2, y2 = pixels = box * [width, height, width, height]
    return np.asarray(crop_features(activations, pixels, cell)), max(y2 - y1, 1) / max(x2 - x1, 1)
