"""Exact nearest neighbours of descriptors by Euclidean distance."""

from typing import Any

import numpy as np

from keras_sare.retrieval.faiss_backend import import_faiss
from keras_sare.utils.progress import progress


def nearest(
    queries: np.ndarray, database: np.ndarray, k: int, block_rows: int = 65536
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the `k` database descriptors nearest to each query: an exhaustive search, nothing is approximated.

    The database is searched in blocks of rows and may be an `np.memmap` larger than memory. A C-ordered float32 block
    is read in place; any other layout or dtype is converted block by block. A query's neighbours are ordered by
    distance, equal distances by index. Distances come from float32 matrix products (|q|^2 + |d|^2 - 2 q.d): for unit
    vectors they are good to about 1e-6, so copies of one descriptor may differ by that much.

    Args:
        queries: `[Q, D]` finite numbers.
        database: `[N, D]` finite numbers, array or memory map.
        k: neighbours per query, 1 to N.
        block_rows: database rows searched at a time.

    Returns:
        Squared distances, float32 `[Q, k]`, and database indices, int64 `[Q, k]`, nearest first.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: shapes do not agree, `k` or `block_rows` is out of range, or a descriptor is not finite.
    """
    _check_arguments(queries, database, k, block_rows)
    faiss = import_faiss()
    queries = _finite_float32(queries, "queries", first_row=0)
    distances = np.empty((len(queries), 0), np.float32)
    indices = np.empty((len(queries), 0), np.int64)
    for start in progress(range(0, len(database), block_rows), "search", unit="block"):
        block = _finite_float32(database[start : start + block_rows], "database", first_row=start)
        found = _search_block(faiss, queries, block, min(k, len(block)))
        distances = np.concatenate([distances, found[0]], axis=1)
        indices = np.concatenate([indices, found[1] + start], axis=1)
        # The last key is the first to sort by: distance, then index.
        order = np.lexsort((indices, distances), axis=1)[:, :k]
        distances, indices = np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)
    return distances, indices


def _search_block(faiss: Any, queries: np.ndarray, block: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distances, indices = faiss.knn(queries, block, k)
    # faiss leaves -1 where a squared distance is infinite or NaN.
    if (indices < 0).any():
        raise ValueError(
            "`queries` and `database` must have squared distances within float32; normalise the descriptors. "
            f"Received: largest magnitudes {np.abs(queries).max():g} and {np.abs(block).max():g}"
        )
    return distances, indices


def _check_arguments(queries: np.ndarray, database: np.ndarray, k: int, block_rows: int) -> None:
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise ValueError(
            "`queries` and `database` must be [Q, D] and [N, D] with the same D; extract both with the same model. "
            f"Received: queries.shape={queries.shape}, database.shape={database.shape}"
        )
    if not 1 <= k <= len(database):
        raise ValueError(
            f"`k` must be between 1 and the number of database rows, {len(database)}; ask for fewer neighbours. "
            f"Received: k={k}"
        )
    if block_rows < 1:
        raise ValueError(f"`block_rows` must be at least 1. Received: block_rows={block_rows}")


def _finite_float32(rows: np.ndarray, name: str, first_row: int) -> np.ndarray:
    # The sum over a row is NaN or infinite when an element is, and needs no mask as large as the block.
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        suspects = np.flatnonzero(~np.isfinite(rows.sum(axis=1)))
    broken = suspects[~np.isfinite(rows[suspects]).all(axis=1)]
    if len(broken):
        raise ValueError(
            f"`{name}` must hold finite numbers only; look for NaN in the model that made them. "
            f"Received: {len(broken)} broken rows from row {first_row + broken[0]} on"
        )
    return rows
