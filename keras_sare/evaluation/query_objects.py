"""What re-ranking by localisation has to know of a landmark dataset's queries."""

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets.images import image_batches
from keras_sare.datasets.landmark_dataset import LandmarkDataset
from keras_sare.models.crop_activations import split_at_pooling
from keras_sare.retrieval.box_descriptor import BoxDescriptor
from keras_sare.retrieval.query_objects import QueryObjects
from keras_sare.utils.progress import progress


def query_objects(
    model: keras.Model, dataset: LandmarkDataset, describe: BoxDescriptor, longer_side: int = 1024
) -> QueryObjects:
    """Describes the queries, cropped to their boxes, as `Reranker` describes the boxes that it compares with them.

    Args:
        model: one of `keras_sare.models.build`.
        dataset: queries without boxes are taken whole.
        describe: of the `Reranker`.
        longer_side: most pixels of an image's longer side; a crop is scaled by the factor of its whole image.

    Raises:
        ValueError: the model has no pooling layer that takes a feature map.
        RuntimeError: the model fails on a crop, for example on one too small for its poolings; the message names it.
        tf.errors.InvalidArgumentError: an image cannot be read; the message names it.
    """
    trunk, _ = split_at_pooling(model)
    compute = tf.function(lambda images: tf.cast(trunk(images, training=False), tf.float32), reduce_retracing=True)
    objects: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
    # One at a time: queries are few, and hardly two crops have the same shape.
    batches = image_batches(dataset.queries, longer_side, 1, dataset.boxes)
    for (query,), images in progress(batches, "query objects", len(dataset.queries), "query"):
        try:
            [activations] = compute(images).numpy()
        except tf.errors.OpError as error:
            raise RuntimeError(
                f"Cannot describe the {images.shape[1]} x {images.shape[2]} pixels of {dataset.queries[int(query)]} in "
                f"its box: {error.message}. Leave out boxes that are too small for the model"
            ) from error
        height, width = activations.shape[:2]
        [descriptor] = describe(activations, np.array([[0, 0, height, width]]))
        objects[int(query)] = descriptor, activations.max(axis=(0, 1)), images.shape[1] / images.shape[2]
    descriptors, maxima, aspects = zip(*(objects[query] for query in sorted(objects)), strict=True)
    return QueryObjects(np.stack(descriptors), np.stack(maxima), np.array(aspects))
