"""Database rows that a search must not return."""

from collections.abc import Sequence

import numpy as np


class ExcludedRows:
    """For each query the database rows that it must not be given, looked up for all queries at once.

    Args:
        rows: for each query the excluded database rows, integers [any number] in any order.
        database_size: number of database rows.

    Raises:
        ValueError: a row is outside the database.
    """

    def __init__(self, rows: Sequence[np.ndarray], database_size: int) -> None:
        self._size = database_size
        self._first = np.arange(len(rows), dtype=np.int64) * database_size
        flat = np.concatenate([np.zeros(0, np.int64), *rows]).astype(np.int64, copy=False)
        if len(flat) and not 0 <= flat.min() <= flat.max() < database_size:
            raise ValueError(
                f"`exclude` must hold database rows, 0 to {database_size - 1}. "
                f"Received: rows from {flat.min()} to {flat.max()}"
            )
        # One number for each pair of query and row, so that one binary search serves all queries.
        self._keys = np.unique(np.repeat(self._first, [len(one) for one in rows]) + flat)

    def counts(self, start: int, stop: int) -> np.ndarray:
        """Number of excluded rows of each query among the rows `start` to `stop`: int64 [queries]."""
        ends = np.searchsorted(self._keys, [self._first + start, self._first + stop])
        return ends[1] - ends[0]

    def contains(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether `rows`, int64 [Q, k], are excluded for `queries`, int64 [Q]: bool [Q, k]."""
        keys = self._first[queries, None] + rows
        if not len(self._keys):
            return np.zeros(keys.shape, bool)
        place = np.searchsorted(self._keys, keys)
        return np.asarray(self._keys[np.minimum(place, len(self._keys) - 1)] == keys)
