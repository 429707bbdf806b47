"""Inputs of unlike sizes, in parts of one size each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.pipeline import as_it_is, as_written
from keras_sare.extraction.inputs import Rows


class BucketedInputs:
    """Inputs of unlike sizes: batches of one size, and tuples that are padded to one.

    Padding costs copies, never computation: what embeds the images takes it off. All tuples are padded to the size that
    holds every image, so that they can be put together to batches: for photographs of 3:4 and 4:3 a third more bytes
    than they have, until the step is done.

    Args:
        parts: images by size: ids int64 [n] and their inputs [n, height, width, channels], row by row. Together the ids
            are 0 to N - 1, each of them once.

    Attributes:
        parts: the inputs.
        shape: [height, width, channels] that tuples are padded to.
        dtype: of the inputs.

    Raises:
        ValueError: an id is missing or occurs twice, or parts differ in dtype or channels.
    """

    def __init__(self, parts: Sequence[tuple[np.ndarray, Rows]]) -> None:
        _check(parts)
        self.parts = [rows for _, rows in parts]
        height, width = np.array([rows.shape[1:3] for rows in self.parts]).max(axis=0).tolist()
        self.shape = (height, width, self.parts[0].shape[-1])
        self.dtype = self.parts[0].dtype
        order = np.argsort(np.concatenate([ids for ids, _ in parts]))
        lengths = [len(ids) for ids, _ in parts]
        self._part = np.repeat(np.arange(len(parts)), lengths)[order]
        self._row = np.concatenate([np.arange(n) for n in lengths])[order]

    def batches(self, ids: np.ndarray, batch_size: int) -> Any:
        """Dataset of (positions in `ids` int64 [batch], inputs [batch, height, width, channels]).

        A batch has one size and no padding; the sizes come one after the other.
        """
        part = self._part[ids]
        order = np.argsort(part, kind="stable")
        ends = np.flatnonzero(np.diff(part[order])) + 1
        alike = np.split(order, ends) if len(order) else []
        cut = [run[start : start + batch_size] for run in alike for start in range(0, len(run), batch_size)]

        def read(number: np.int64) -> tuple[np.ndarray, np.ndarray]:
            chosen = ids[cut[number]]
            return cut[number], self.parts[self._part[chosen[0]]][self._row[chosen]]

        def read_with_shapes(number: Any) -> tuple[Any, Any]:
            positions, rows = tf.numpy_function(read, [number], [tf.int64, tf.as_dtype(self.dtype)], stateful=False)
            return tf.ensure_shape(positions, (None,)), tf.ensure_shape(rows, (None, None, None, self.shape[-1]))

        batches = tf.data.Dataset.range(len(cut)).map(as_written(read_with_shapes), 2, deterministic=True)
        return batches.prefetch(2).with_options(as_it_is())

    def gather(self, ids: Any) -> dict[str, Any]:
        """Inputs of `ids`: "values" [n, height, width, channels], padded with 0 from "sizes" int32 [n, 2] on."""
        dtypes = [tf.as_dtype(self.dtype), tf.int32]
        values, sizes = tf.numpy_function(self._pad, [ids], dtypes, stateful=False)
        return {"values": tf.ensure_shape(values, (None, *self.shape)), "sizes": tf.ensure_shape(sizes, (None, 2))}

    def _pad(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.zeros((len(ids), *self.shape), self.dtype)
        part = self._part[ids]
        for number in np.unique(part).tolist():
            places = np.flatnonzero(part == number)
            rows = self.parts[number][self._row[ids[places]]]
            values[places, : rows.shape[1], : rows.shape[2]] = rows
        return values, np.array([self.parts[number].shape[1:3] for number in part], np.int32)


def _check(parts: Sequence[tuple[np.ndarray, Rows]]) -> None:
    ids = np.concatenate([ids for ids, _ in parts] or [np.empty(0)])
    if not len(ids) or (np.sort(ids) != np.arange(len(ids))).any():
        raise ValueError(
            f"`parts` must hold each image once: ids 0 to N - 1. Received: {len(ids)} ids in {len(parts)} parts"
        )
    if wrong := [(len(ids), rows.shape) for ids, rows in parts if len(rows.shape) != 4 or len(ids) != rows.shape[0]]:
        raise ValueError(
            "`parts` must have inputs [n, height, width, channels] for their n ids. "
            f"Received: {wrong[0][0]} ids with inputs of shape {wrong[0][1]}"
        )
    if len(kinds := {(rows.shape[-1], rows.dtype.name) for _, rows in parts}) > 1:
        raise ValueError(
            f"`parts` must agree in their number of channels and in their dtype. Received: {sorted(kinds)}"
        )
