"""Bytes of an encoded file as numbers, with TensorFlow operations that never fail."""

from typing import Any

import tensorflow as tf


def file_length(contents: Any) -> Any:
    """Bytes of a file, int64: positions in it are, because lengths that a damaged file states go up to 2^32."""
    return tf.cast(tf.strings.length(contents), tf.int64)


def bytes_at(contents: Any, position: Any, count: int) -> Any:
    """`count` bytes from `position` on, int64 [count]; zeros beyond the end of the file."""
    part = tf.strings.substr(contents, tf.minimum(tf.cast(position, tf.int64), file_length(contents)), count)
    return tf.cast(tf.io.decode_raw(part, tf.uint8, fixed_length=count), tf.int64)


def number(digits: Any, little: Any) -> Any:
    """Unsigned numbers int64 [...] of bytes int64 [..., n], the highest last where `little`, else first."""
    places = [256**place for place in range(digits.shape[-1])]
    weights = tf.where(little, tf.constant(places, tf.int64), tf.constant(places[::-1], tf.int64))
    return tf.reduce_sum(digits * weights, axis=-1)


def equal(digits: Any, expected: bytes) -> Any:
    """Whether bytes int64 [n] are these."""
    return tf.reduce_all(digits == list(expected))
