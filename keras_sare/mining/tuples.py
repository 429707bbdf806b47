"""Mined tuples as a tf.data pipeline."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf


def tuple_dataset(
    rows: Callable[[], Iterable[np.ndarray]], gather: Callable[[Any], Any], tuple_size: int, tuples_per_step: int
) -> Any:
    """Makes a `tf.data.Dataset` of batches of tuples out of a generator that mines them.

    Mining and reading run ahead of training by a few steps. A last batch that is not full is dropped, so that every
    step is worth the same and splits evenly over replicas.

    Args:
        rows: returns a fresh iterator over tuples, int64 [tuple_size] image ids: query, positive, negatives.
        gather: TensorFlow function from ids int64 [tuple_size] to the model's inputs [tuple_size, ...].
        tuple_size: 2 + negatives.
        tuples_per_step: tuples in a batch.

    Returns:
        Dataset of (ids int64 [tuples_per_step, tuple_size], inputs [tuples_per_step, tuple_size, ...]).
    """
    mined = tf.data.Dataset.from_generator(rows, output_signature=tf.TensorSpec((tuple_size,), tf.int64))
    read = mined.map(lambda ids: (ids, gather(ids)), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return read.batch(tuples_per_step, drop_remainder=True).prefetch(2)
