"""Mined tuples as a tf.data pipeline."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.pipeline import as_it_is, as_written
from keras_sare.utils.arguments import plain_arguments

# Tuples read at a time. A tuple of 100 negatives at 480 x 640 is 0.4 GB of pixels: one for each core would not fit.
_READ_AT_A_TIME = 4


@plain_arguments
def tuple_dataset(
    rows: np.ndarray, gather: Callable[[Any], Any], batch: int, *, share: tuple[int, int] = (0, 1)
) -> Any:
    """Makes a `tf.data.Dataset` of batches of tuples, read a little ahead of training.

    The rows are cut into batches of `batch`, one for each replica and step, and dealt out to the workers in turn. So
    any number of workers and replicas sees the same tuples in the same step, as long as their product with `batch` is
    the same. At most two batches and four tuples wait in memory. What fills no batch for every worker at the end is
    dropped; a worker of several replicas expects rows that are cut to whole steps,
    `workers * replicas per worker * batch`.

    Args:
        rows: int64 [tuples, tuple size] image ids: query, positive, negatives.
        gather: TensorFlow function from the ids of a tuple, int64 [tuple size], to inputs [tuple size, ...] or a
            structure of such, as images padded to one size with their sizes. Shapes are the same for all tuples.
        batch: tuples in a batch of one replica.
        share: (index, count) of this worker among the workers.

    Returns:
        Dataset of (ids int64 [batch, tuple size], inputs [batch, tuple size, ...], or the structure), in the same order
        at every pass.

    Raises:
        ValueError: `rows` are no tuples or too few for a batch for every worker, `batch` is below 1, or `share` names
            no worker.
    """
    index, count = share
    _check(rows, batch, index, count)
    steps = len(rows) // (batch * count)
    mine = rows[: steps * count * batch].reshape(steps, count, batch, -1)[:, index].reshape(steps * batch, -1)
    ids = tf.data.Dataset.from_tensor_slices(np.ascontiguousarray(mine, np.int64))

    def read_tuple(tuple_ids: Any) -> tuple[Any, Any]:
        return tuple_ids, gather(tuple_ids)

    read = ids.map(as_written(read_tuple), _READ_AT_A_TIME, deterministic=True)
    return read.batch(batch, drop_remainder=True).prefetch(1).with_options(_bounded())


def _bounded() -> tf.data.Options:
    options = as_it_is()
    options.deterministic = True
    return options


def _check(rows: np.ndarray, batch: int, index: int, count: int) -> None:
    if batch < 1:
        raise ValueError(f"`batch` must be at least 1. Received: batch={batch}")
    if not 0 <= index < count:
        raise ValueError(f"`share` must be (index, count) with 0 <= index < count. Received: share={(index, count)}")
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(
            f"`rows` must be integers [tuples, tuple size]. Received: rows.shape={rows.shape}, rows.dtype={rows.dtype}"
        )
    if len(rows) < batch * count:
        raise ValueError(
            f"`rows` must hold a batch for every worker, {batch * count} tuples. Received: len(rows)={len(rows)}"
        )
