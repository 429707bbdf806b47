"""The images of a batch, of one size or padded to one, and pieces of it that have one size."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def is_padded(images: Any) -> bool:
    """Whether images are of unlike sizes: {"values": [..., H, W, C], "sizes": int32 [..., 2]}, as `BucketedInputs`
    gives them; otherwise they are one tensor."""
    return isinstance(images, Mapping)


def count_images(images: Any) -> Any:
    """Number of images, int32 scalar."""
    return tf.shape(images["values"] if is_padded(images) else images)[0]


def order_by_size(sizes: Any) -> Any:
    """Order, int32 [images], in which images of one size are neighbours.

    Args:
        sizes: int32 [images, 2], (height, width).
    """
    return tf.argsort(tf.bitcast(sizes, tf.int64), stable=True)


def piece(images: Any, start: Any, most: Any) -> Any:
    """The images from one on, without their padding, as far as they have the size of that one.

    Args:
        images: [images, ...] or padded ones, see `is_padded`.
        start: first image, int32.
        most: at most so many, int32; fewer at the end, and where the next image has another size.

    Returns:
        [n, ...], n at least 1 where `start` is one of the images.
    """
    if not is_padded(images):
        return images[start : start + most]
    sizes = images["sizes"][start : start + most]
    alike = tf.reduce_all(sizes == sizes[0], axis=1)
    count = tf.reduce_sum(tf.math.cumprod(tf.cast(alike, tf.int32)))
    height, width = tf.unstack(sizes[0])
    return images["values"][start : start + count, :height, :width]


def piece_spec(images: Any) -> tf.TensorSpec:
    """What all pieces are."""
    if not is_padded(images):
        return tf.TensorSpec((None, *images.shape[1:]), images.dtype)
    return tf.TensorSpec((None, None, None, images["values"].shape[-1]), images["values"].dtype)


def pad(images: Any, height: int, width: int) -> dict[str, Any]:
    """Pads images of one size with zeros, at the bottom and on the right.

    Args:
        images: [n, h, w, channels].
        height: at least h.
        width: at least w.

    Returns:
        "values" [n, height, width, channels] and "sizes" int32 [n, 2], all (h, w).
    """
    shape = tf.shape(images)
    values = tf.pad(images, [[0, 0], [0, height - shape[1]], [0, width - shape[2]], [0, 0]])
    return {
        "values": tf.ensure_shape(values, (None, height, width, images.shape[-1])),
        "sizes": tf.repeat(shape[None, 1:3], shape[0], axis=0),
    }
