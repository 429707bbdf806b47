"""Ranks of a few images among millions, without sorting them."""

from collections.abc import Sequence

import numpy as np

from keras_sare.retrieval.memory_map import release_pages
from keras_sare.utils.progress import progress

_BLOCK_BYTES = 2**26
_MAX_BLOCK_ROWS = 65536


def streamed_ranks(
    queries: np.ndarray,
    database: np.ndarray,
    wanted: Sequence[np.ndarray],
    dimensions: int | None = None,
    block_rows: int | None = None,
) -> list[np.ndarray]:
    """Ranks the database for every query by inner product, and returns the ranks of the wanted images.

    Nothing is sorted: the rank of an image is the number of images with a greater float32 product, or an equal one and
    a smaller index, counted block by block. Memory holds one block of the database and its products with all queries,
    so that the database may be an `np.memmap` larger than memory. Blocks that hold
    wanted images are multiplied twice.

    Args:
        queries: `[Q, D]` finite numbers.
        database: `[N, D]` finite numbers, array or memory map.
        wanted: for each query int64 database indices, ascending, each once.
        dimensions: compares only so many first components, both sides L2-normalised anew; None compares all as they
            are.
        block_rows: database rows at a time; by default as many as keep block and products near 64 MiB.

    Returns:
        For each query the ranks of its wanted images, int64, from 0, in their order.

    Raises:
        ValueError: shapes do not agree, or a descriptor is not finite.
    """
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise ValueError(
            "`queries` and `database` must be [Q, D] and [N, D] with the same D; extract both with the same model. "
            f"Received: queries.shape={queries.shape}, database.shape={database.shape}"
        )
    if dimensions is not None and not 1 <= dimensions <= queries.shape[1]:
        raise ValueError(
            f"`dimensions` must be from 1 to {queries.shape[1]}, those of the descriptors. "
            f"Received: dimensions={dimensions}"
        )
    if block_rows is None:
        block_rows = min(_MAX_BLOCK_ROWS, max(1, _BLOCK_BYTES // (4 * (queries.shape[1] + len(queries)))))
    if block_rows < 1:
        raise ValueError(f"`block_rows` must be at least 1. Received: block_rows={block_rows}")
    products = _Products(queries, database, dimensions, block_rows)
    own = _own_products(products, wanted)
    ranks = [np.zeros(len(mine), np.int64) for mine in wanted]
    for start in progress(products.starts, "Ranks", unit="block"):
        for row, mine, values, counts in zip(products.block(start), wanted, own, ranks, strict=True):
            if len(mine):
                counts += _count_better(row, start, mine, values)
    return ranks


class _Products:
    """Inner products of all queries with blocks of the database: bit-equal at every call."""

    def __init__(self, queries: np.ndarray, database: np.ndarray, dimensions: int | None, block_rows: int) -> None:
        self._database = database
        self._dimensions = dimensions
        self._queries = self._prepared(queries)
        self.starts = range(0, len(database), block_rows)

    def block(self, start: int) -> np.ndarray:
        """Products with the block that begins at `start`: float32 `[Q, block]`."""
        stop = min(start + self.starts.step, len(self._database))
        # Values too large for the products are an error of the descriptors too.
        with np.errstate(over="ignore", invalid="ignore"):
            products = self._queries @ self._prepared(self._database[start:stop]).T
        release_pages(self._database)
        if not np.isfinite(products).all():
            row, column = np.argwhere(~np.isfinite(products))[0]
            raise ValueError(
                "`queries` and `database` must hold finite numbers; look for NaN in the model that made them. "
                f"Received: the product of query {row} and database image {start + column} is {products[row, column]}"
            )
        return products

    def _prepared(self, rows: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(rows[:, : self._dimensions], np.float32)
        if self._dimensions is None:
            return rows
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms == 0, np.float32(1), norms)


def _own_products(products: _Products, wanted: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Products of queries with their wanted images, taken from the very blocks that they are compared with."""
    own = [np.empty(len(mine), np.float32) for mine in wanted]
    step = products.starts.step
    used = np.unique(np.concatenate([np.zeros(0, np.int64), *wanted]) // step) * step
    for start in map(int, used):
        for row, mine, values in zip(products.block(start), wanted, own, strict=True):
            inside = _inside(mine, start, len(row))
            values[inside] = row[mine[inside] - start]
    return own


def _count_better(row: np.ndarray, start: int, mine: np.ndarray, own: np.ndarray) -> np.ndarray:
    """How many images of a block beat each wanted one: by a greater product, or an equal one and a smaller index."""
    inside = _inside(mine, start, len(row))
    # Where a second product of the same numbers differed, an image might beat itself.
    row[mine[inside] - start] = own[inside]
    candidates = np.sort(row[row >= own.min()])
    greater, not_less = (len(candidates) - np.searchsorted(candidates, own, side) for side in ("right", "left"))
    counts = np.where(mine >= start + len(row), not_less, greater)
    equals = [np.count_nonzero(row[: i - start] == s) for i, s in zip(mine[inside], own[inside], strict=True)]
    counts[inside] += np.array(equals, np.int64)
    return counts


def _inside(indices: np.ndarray, start: int, length: int) -> slice:
    """Where the images of a block are among ascending indices."""
    first, end = np.searchsorted(indices, (start, start + length))
    return slice(int(first), int(end))
