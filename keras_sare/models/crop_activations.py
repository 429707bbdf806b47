"""Crop_X: what of an image's feature map lies inside a box."""

from typing import Any

import keras
import tensorflow as tf

from keras_sare.layers.pooling import FeatureMapPooling
from keras_sare.models.surgery import split

# Divisible by the strides of all backbones, and large against what an unpadded convolution takes off the edge.
_PROBED_SIDE = 1792


def split_at_pooling(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Splits a model before the layer that makes a descriptor of the feature map.

    Args:
        model: one of `keras_sare.models.build`.

    Returns:
        (trunk: images to feature maps [batch, height, width, channels], head: feature maps to descriptors), which share
        the layers of `model`.

    Raises:
        ValueError: there is no pooling layer, or one that takes more than a feature map.
    """
    names = [layer.name for layer in model.layers if isinstance(layer, FeatureMapPooling)]
    if not names:
        raise ValueError(
            "`model` must have a pooling layer of `keras_sare.layers`, as those of `keras_sare.models.build` have. "
            f"Received: model={model.name!r} with the layers {', '.join(layer.name for layer in model.layers)}"
        )
    if isinstance(model.get_layer(names[0]).input, list):
        raise ValueError(
            "`model` must have a pooling layer that takes a feature map alone. "
            f"Received: model={model.name!r} with the pooling layer {names[0]!r}"
        )
    return split(model, names[0])


def stride(trunk: keras.Model) -> float:
    """Pixels between neighbouring cells of the feature map of a fully convolutional network."""
    small, large = (trunk.compute_output_shape((1, side, side, 3))[1] for side in (_PROBED_SIDE, 2 * _PROBED_SIDE))
    return _PROBED_SIDE / (large - small)


def crop_features(features: Any, box: Any, cell: float) -> Any:
    """Keeps the cells of a feature map whose receptive fields are centred in a box.

    The centre of cell i is taken to be at pixel (i + 1/2) * cell: exactly so for VGG, within half a cell for others. A
    box between centres keeps the one cell that it is nearest to.

    Args:
        features: [height, width, channels].
        box: x1, y1, x2, y2, floating [4], in pixels of the image that the network was given.
        cell: pixels from cell to cell, see `stride`.

    Returns:
        [rows, columns, channels], at least one cell.
    """
    sides = tf.cast(tf.shape(features)[:2], tf.float64)
    corners = tf.reshape(tf.cast(box, tf.float64), [2, 2])[:, ::-1] / cell
    nearest = tf.clip_by_value(tf.floor(tf.reduce_mean(corners, axis=0)), 0.0, sides - 1.0)
    first, last = tf.unstack(tf.clip_by_value(tf.math.ceil(corners - 0.5), 0.0, sides))
    empty = first >= last
    first = tf.where(empty, nearest, first)
    last = tf.where(empty, nearest + 1.0, last)
    top, left = tf.unstack(tf.cast(first, tf.int32))
    bottom, right = tf.unstack(tf.cast(last, tf.int32))
    return features[top:bottom, left:right]


class CropActivations:
    """Describes boxes of images by what lies inside them of the whole image's feature map (Crop_X).

    It sees context that a crop of the image itself (Crop_I) has not: the receptive fields reach beyond the box. It is
    called like a model, on a tuple, so that `Extractor` and `MultiScale` take it.

    Reference: Radenovic, Tolias, Chum, "CNN Image Retrieval Learns from BoW", ECCV 2016, section 5.

    Args:
        model: one of `keras_sare.models.build`, with a fully convolutional backbone.

    Attributes:
        trunk: images to feature maps.
        head: feature maps to descriptors.
        cell: pixels from cell to cell of the feature map.
    """

    def __init__(self, model: keras.Model) -> None:
        self.trunk, self.head = split_at_pooling(model)
        self.cell = stride(self.trunk)

    @property
    def output(self) -> Any:
        """That of the model."""
        return self.head.output

    def __call__(self, inputs: tuple[Any, Any], training: bool = False) -> Any:
        """Describes boxes.

        Args:
            inputs: images [batch, height, width, 3], and boxes x1, y1, x2, y2, floating [batch, 4], as shares of the
                image's width and height: so they fit the image at every scale.
            training: passed on to the model.

        Returns:
            [batch, dim], each row the head's of one cropped feature map.
        """
        images, shares = inputs
        height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float64))
        boxes = tf.cast(shares, tf.float64) * tf.stack([width, height, width, height])

        def describe(one: tuple[Any, Any]) -> Any:
            return self.head(crop_features(*one, self.cell)[tf.newaxis], training=training)[0]

        descriptor = tf.TensorSpec(self.output.shape[1:], self.output.dtype)
        return tf.map_fn(describe, (self.trunk(images, training=training), boxes), fn_output_signature=descriptor)
