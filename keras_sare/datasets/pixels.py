"""Decoding, cropping and resizing of one image with TensorFlow operations."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Size = tuple[int, int]


def decode_pixels(contents: Any) -> Any:
    """Decodes the bytes of a JPEG, PNG or GIF file, a string scalar, to uint8 [height, width, 3].

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no such image, or not a whole one.
    """
    # A WebP file comes out of this operation with four dimensions; the shape check turns that into an error.
    return tf.ensure_shape(tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"), [None, None, 3])


def resize(pixels: Any, size: Size | int | None, box: Any = None) -> Any:
    """Crops and resizes a decoded image; `keras_sare.datasets.decode_image` says how.

    Args:
        pixels: uint8 [height, width, 3].
        size: (height, width), or the most pixels that the longer side may have, or None.
        box: x1, y1, x2, y2, float64 [4], or None. Not together with (height, width).

    Returns:
        [height, width, 3] in 0..255: float32 where `size` is (height, width), else uint8.

    Raises:
        tf.errors.InvalidArgumentError: the box holds no pixel.
    """
    cropped = pixels if box is None else _crop(pixels, box)
    if size is None:
        return cropped
    if not isinstance(size, int):
        return tf.image.resize(cropped, size, method="bilinear", antialias=True)
    if box is not None:
        size = tf.maximum(size * _longer_side(cropped) // _longer_side(pixels), 1)
    return tf.cond(_longer_side(cropped) > size, lambda: _shrink(cropped, size), lambda: cropped)


def _longer_side(pixels: Any) -> Any:
    return tf.reduce_max(tf.shape(pixels)[:2])


def _crop(pixels: Any, box: Any) -> Any:
    sides = tf.cast(tf.shape(pixels)[:2], tf.float64)
    corners = tf.reshape(tf.round(tf.cast(box, tf.float64)), [2, 2])[:, ::-1]
    low, high = tf.unstack(tf.cast(tf.clip_by_value(corners, 0.0, sides), tf.int32))
    with tf.control_dependencies([tf.debugging.assert_less(low, high, "The box holds no pixel of the image.")]):
        return pixels[low[0] : high[0], low[1] : high[1]]


def _shrink(pixels: Any, longer_side: Any) -> Any:
    resized = tf.image.resize(pixels, _fitted(pixels, longer_side), method="lanczos3", antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def _fitted(pixels: Any, longer_side: Any) -> Any:
    """`fitted_size` of an image that is too large, as TensorFlow operations: the same numbers in the same float64."""
    sides = tf.cast(tf.shape(pixels)[:2], tf.float64)
    longer, ratio = tf.cast(longer_side, tf.float64), sides[1] / sides[0]
    shorter = tf.where(
        ratio <= 1.0,
        _nearest(longer * ratio, lambda side: tf.abs(ratio - side / longer)),
        _nearest(longer / ratio, lambda side: tf.abs(ratio - longer / side)),
    )
    size = tf.where(ratio <= 1.0, [longer, shorter], [shorter, longer])
    return tf.cast(size, tf.int32)


def _nearest(side: Any, error: Callable[[Any], Any]) -> Any:
    low, high = tf.maximum(tf.floor(side), 1.0), tf.maximum(tf.math.ceil(side), 1.0)
    return tf.where(error(high) < error(low), high, low)
