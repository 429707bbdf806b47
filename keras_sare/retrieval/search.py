"""Exact nearest neighbours of descriptors by Euclidean distance."""

from collections.abc import Sequence

import numpy as np

from keras_sare.retrieval.excluded_rows import ExcludedRows
from keras_sare.retrieval.faiss_backend import knn
from keras_sare.retrieval.memory_map import read_ahead, release_pages
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress


@plain_arguments
def nearest(
    queries: np.ndarray,
    database: np.ndarray,
    k: int,
    block_rows: int = 65536,
    exclude: Sequence[np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the `k` database descriptors nearest to each query: an exhaustive search, nothing is approximated.

    The database is searched in blocks of rows and may be an `np.memmap` larger than memory: at no time does more than
    a block of it take memory. A C-ordered float32 block is read in place; any other layout or dtype is converted block
    by block. A query's neighbours are ordered by distance, equal distances by index. Distances come from float32 matrix
    products (|q|^2 + |d|^2 - 2 q.d): for unit vectors they are good to about 1e-6, so copies of one descriptor may
    differ by that much. Where faiss is built for GPUs and finds one, it searches there; of neighbours that share the
    k-th distance it may then keep any.

    Args:
        queries: `[Q, D]` finite numbers.
        database: `[N, D]` finite numbers, array or memory map.
        k: neighbours per query, 1 to N.
        block_rows: database rows searched at a time.
        exclude: for each query the database rows that it must not be given (mining: the images around the query's
            place); none by default.

    Returns:
        Squared distances, float32 `[Q, k]`, and database indices, int64 `[Q, k]`, nearest first.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: shapes do not agree, `k` or `block_rows` is out of range, `exclude` leaves a query fewer than `k`
            rows, or a descriptor is not finite.
    """
    _check_arguments(queries, database, k, block_rows)
    closed = ExcludedRows([np.zeros(0, np.int64)] * len(queries) if exclude is None else exclude, len(database))
    _check_excluded(closed.counts(0, len(database)), len(queries), len(database), k)
    queries = _finite_float32(queries, "queries", first_row=0)
    distances = np.empty((len(queries), 0), np.float32)
    indices = np.empty((len(queries), 0), np.int64)
    for start in progress(range(0, len(database), block_rows), "search", unit="block"):
        read_ahead(database, start, start + 2 * block_rows)
        block = _finite_float32(database[start : start + block_rows], "database", first_row=start)
        found = _search_block(queries, block, start, k, closed)
        distances, indices = _k_nearest(
            np.concatenate([distances, found[0]], axis=1), np.concatenate([indices, found[1]], axis=1), k
        )
        release_pages(database)
    return distances, indices


def _search_block(
    queries: np.ndarray, block: np.ndarray, start: int, k: int, excluded: ExcludedRows
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of a block, fewer where it is smaller; excluded ones are infinitely far."""
    counts = excluded.counts(start, start + len(block))
    width = min(k, len(block))
    distances = np.empty((len(queries), width), np.float32)
    indices = np.empty((len(queries), width), np.int64)
    # Excluded rows lie together, so in most blocks most queries have none: only the others are asked for more than k.
    for chosen in (np.flatnonzero(counts == 0), np.flatnonzero(counts)):
        if len(chosen):
            asked = min(len(block), k + int(counts[chosen].max()))
            found = knn(queries if len(chosen) == len(queries) else queries[chosen], block, asked)
            rows = found[1] + start
            allowed = np.where(excluded.contains(chosen, rows), np.float32(np.inf), found[0])
            distances[chosen], indices[chosen] = _k_nearest(allowed, rows, width)
    return distances, indices


def _k_nearest(distances: np.ndarray, indices: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    # The last key is the first to sort by: distance, then index.
    order = np.lexsort((indices, distances), axis=1)[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)


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


def _check_excluded(counts: np.ndarray, queries: int, database_size: int, k: int) -> None:
    if len(counts) != queries:
        raise ValueError(
            f"`exclude` must have one entry for each of the {queries} queries. Received: len(exclude)={len(counts)}"
        )
    fewest = database_size - int(counts.max(initial=0))
    if fewest < k:
        raise ValueError(
            f"`exclude` must leave every query at least `k` database rows; one has only {fewest} of {database_size}. "
            f"Ask for fewer neighbours. Received: k={k}"
        )


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
