"""Decoding, cropping and resizing of one image with TensorFlow operations."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_sare.datasets.images.image_header import is_webp, why_refused

Size = tuple[int, int]

_LONGEST_SHAPE = 8


class ShorterSide(int):
    """A size rule: the pixels that the shorter side of an image gets; the longer one follows, cut to whole pixels.

    Smaller images are enlarged, and the longer side gets at most eight times as many pixels. It is what torchvision's
    `resize` does with one number, and how the VG benchmark and OpenIBL read the queries of Tokyo 24/7; a plain number
    limits the longer side instead.
    """

    def __repr__(self) -> str:
        return f"ShorterSide({int(self)})"

    __str__ = __repr__


def decode_pixels(contents: Any, max_pixels: int | None = None) -> Any:
    """Decodes a file to pixels; `keras_sare.datasets.decode_image` says how.

    Args:
        contents: string scalar, the bytes of a JPEG, PNG, single-frame GIF or single-frame WebP file.
        max_pixels: the most pixels that an image may have; by default what `set_max_pixels` set.

    Returns:
        uint8 [height, width, 3].

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no such image, not a whole one, or one that is too large.
    """
    refusal = why_refused(contents, max_pixels)
    with tf.control_dependencies([tf.debugging.Assert(refusal == "", [refusal])]):
        contents = tf.identity(contents)
    pixels = tf.cond(is_webp(contents), lambda: _decode_webp(contents), lambda: _decode_others(contents))
    return tf.ensure_shape(pixels, [None, None, 3])


def why_undecodable(contents: Any, max_pixels: int | None = None) -> Any:
    """Tells in words why `decode_pixels` fails, with TensorFlow operations.

    Args:
        contents: string scalar, the bytes of a file for which it does fail.
        max_pixels: the most pixels that an image may have; by default what `set_max_pixels` set.

    Returns:
        string scalar.
    """
    refusal = why_refused(contents, max_pixels)
    return tf.where(refusal == "", "truncated or damaged", refusal)


def resize(pixels: Any, size: Size | int | None, box: Any = None, antialias: bool = True) -> Any:
    """Crops and resizes a decoded image; `keras_sare.datasets.decode_image` says how.

    Args:
        pixels: uint8 [height, width, 3].
        size: (height, width), or the most pixels that the longer side may have, or a `ShorterSide`, or None.
        box: x1, y1, x2, y2, float64 [4], or None. Only where `size` limits the longer side or is None.
        antialias: whether the filter widens where an image shrinks.

    Returns:
        [height, width, 3] in 0..255: uint8 where `size` is None or limits the longer side with `antialias`, else
        float32.

    Raises:
        tf.errors.InvalidArgumentError: the box holds no pixel.
    """
    cropped = pixels if box is None else _crop(pixels, box)
    if size is None:
        return cropped
    if isinstance(size, ShorterSide):
        size = _with_shorter_side(cropped, size)
    if not isinstance(size, int):
        return tf.image.resize(cropped, size, method="bilinear", antialias=antialias)
    if box is not None:
        size = tf.maximum(size * _longer_side(cropped) // _longer_side(pixels), 1)
    if not antialias:
        shrinks = _longer_side(cropped) > size
        sides = tf.cond(shrinks, lambda: fitted_sides(cropped, size), lambda: tf.shape(cropped)[:2])
        return tf.image.resize(cropped, sides, method="bilinear", antialias=False)
    return tf.cond(_longer_side(cropped) > size, lambda: _shrink(cropped, size), lambda: cropped)


def _decode_others(contents: Any) -> Any:
    # This operation takes PNG and GIF too.
    return tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_webp(contents: Any) -> Any:
    # Not `tf.io.decode_webp`: a server with an older TensorFlow would refuse the whole graph for an operation that it
    # does not know. The number of channels must be that of the file here; the fourth is alpha.
    pixels = tf.io.decode_image(contents, channels=0, expand_animations=False)
    return tf.ensure_shape(pixels, [None, None, None])[:, :, :3]


def _with_shorter_side(pixels: Any, side: int) -> Any:
    sides = tf.cast(tf.shape(pixels)[:2], tf.int64)
    # A picture of one row of pixels would take gigabytes otherwise.
    scaled = tf.minimum(int(side) * sides // tf.reduce_min(sides), _LONGEST_SHAPE * int(side))
    return tf.cast(scaled, tf.int32)


def _longer_side(pixels: Any) -> Any:
    return tf.reduce_max(tf.shape(pixels)[:2])


def _crop(pixels: Any, box: Any) -> Any:
    sides = tf.cast(tf.shape(pixels)[:2], tf.float64)
    corners = tf.reshape(tf.round(tf.cast(box, tf.float64)), [2, 2])[:, ::-1]
    low, high = tf.unstack(tf.cast(tf.clip_by_value(corners, 0.0, sides), tf.int32))
    with tf.control_dependencies([tf.debugging.assert_less(low, high, "The box holds no pixel of the image.")]):
        return pixels[low[0] : high[0], low[1] : high[1]]


def _shrink(pixels: Any, longer_side: Any) -> Any:
    resized = tf.image.resize(pixels, fitted_sides(pixels, longer_side), method="lanczos3", antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def fitted_sides(pixels: Any, longer_side: Any) -> Any:
    """`fitted_size` of an image that is too large, as TensorFlow operations: the same numbers in the same float64."""
    sides = tf.cast(tf.shape(pixels)[:2], tf.float64)
    # The limit, but not as a constant: a graph would reorder the divisions by one, and round a tie the other way.
    longer = tf.cast(tf.minimum(longer_side, _longer_side(pixels)), tf.float64)
    ratio = sides[1] / sides[0]
    shorter = tf.where(
        ratio <= 1.0,
        _nearest(longer * ratio, lambda side: tf.abs(ratio - side / longer)),
        _nearest(longer / ratio, lambda side: tf.abs(ratio - longer / side)),
    )
    size = tf.where(ratio <= 1.0, [longer, shorter], [shorter, longer])
    return tf.cast(size, tf.int32)


def _nearest(side: Any, error: Callable[[Any], Any]) -> Any:
    low = tf.maximum(tf.floor(side), 1.0)
    high = tf.maximum(tf.math.ceil(side), 1.0)
    return tf.where(error(high) < error(low), high, low)
