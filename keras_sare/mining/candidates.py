"""Exact search in which every query has a list of its own to choose from."""

from collections.abc import Sequence

import numpy as np

from keras_sare.retrieval.memory_map import release_pages
from keras_sare.utils.progress import progress

# A matrix product computes a distance this many times faster than fetching the pair's two rows does.
_PRODUCT_GAIN = 64
# Numbers fetched at a time where pairs are fetched: few enough to stay in the processor's cache.
_FETCHED = 1 << 18


def nearest_candidates(
    queries: np.ndarray, database: np.ndarray, candidates: Sequence[np.ndarray], count: int, memory_limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the `count` candidates nearest to each query.

    The database is read once for all queries, in order of rows, and only the rows that are a candidate of some query.
    Distances come from float32 arithmetic (|q|^2 + |d|^2 - 2 q.d), as in `keras_sare.retrieval.nearest`.

    Args:
        queries: [Q, D] descriptors.
        database: [N, D] descriptors, array or memory map, of any float type.
        candidates: for each query at least `count` different database rows, int64, ascending.
        count: neighbours per query.
        memory_limit: bytes for the rows that are held at a time and their distances.

    Returns:
        Squared distances, float32 [Q, count], and database rows, int64 [Q, count], nearest first, equal ones by row.

    Raises:
        ValueError: a distance is not finite.
    """
    counts = np.array([len(rows) for rows in candidates], np.int64)
    query = np.repeat(np.arange(len(counts)), counts)
    column = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.full((len(counts), counts.max(initial=count)), -1, np.int64)
    rows[query, column] = np.concatenate([np.zeros(0, np.int64), *candidates])
    distances = np.full(rows.shape, np.inf, np.float32)
    distances[query, column] = _squared_distances(queries, database, query, rows[query, column], memory_limit)
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)


def _squared_distances(
    queries: np.ndarray, database: np.ndarray, query: np.ndarray, row: np.ndarray, memory_limit: float
) -> np.ndarray:
    """Squared distances of pairs (query[i], row[i])."""
    queries = np.ascontiguousarray(queries, np.float32)
    order = np.argsort(row, kind="stable")
    # Blocks of the whole database, not of the wanted rows: of a mapped file whole pages around a row take memory.
    starts = np.arange(0, len(database), rows_within(memory_limit, queries, database))
    ends = np.searchsorted(row[order], np.append(starts, len(database)))
    out = np.empty(len(row), np.float32)
    for block in progress(np.flatnonzero(np.diff(ends)), "mining", unit="block"):
        pairs = order[ends[block] : ends[block + 1]]
        wanted, place = np.unique(row[pairs], return_inverse=True)
        out[pairs] = _block_distances(queries, read_rows(database, wanted), query[pairs], place)
        release_pages(database)
    broken = np.flatnonzero(~np.isfinite(out))
    if len(broken):
        raise ValueError(
            "`queries` and `database` must hold finite numbers only; look for NaN in the model that made them. "
            f"Received: a distance of {out[broken[0]]} to database row {row[broken[0]]}"
        )
    return out


def rows_within(memory_limit: float, queries: np.ndarray, database: np.ndarray) -> int:
    """Database rows that fit a memory limit together with a float32 copy and their distances to all queries."""
    row_bytes = (database.itemsize + 4) * database.shape[1] + 4 * len(queries)
    return max(1, int(memory_limit // row_bytes))


def read_rows(database: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows in ascending order as float32; an unbroken run of them is read in place where it is float32 already."""
    unbroken = len(rows) == rows[-1] - rows[0] + 1
    return np.ascontiguousarray(database[rows[0] : rows[-1] + 1] if unbroken else database[rows], np.float32)


def _block_distances(queries: np.ndarray, rows: np.ndarray, query: np.ndarray, row: np.ndarray) -> np.ndarray:
    if len(query) * _PRODUCT_GAIN > len(queries) * len(rows):
        products = (rows @ queries.T)[row, query]
    else:
        step = max(1, _FETCHED // rows.shape[1])
        parts = [slice(start, start + step) for start in range(0, len(query), step)]
        products = np.concatenate([np.einsum("pd,pd->p", queries[query[part]], rows[row[part]]) for part in parts])
    norms = np.einsum("qd,qd->q", queries, queries)[query] + np.einsum("rd,rd->r", rows, rows)[row]
    return np.asarray(np.maximum(norms - 2 * products, 0))


def with_positives(positives: Sequence[np.ndarray]) -> np.ndarray:
    """Queries that have a potential positive: int64, ascending.

    Raises:
        ValueError: none has.
    """
    queries = np.flatnonzero([len(rows) for rows in positives]).astype(np.int64)
    if not len(queries):
        raise ValueError(
            f"`positives` must give at least one of the {len(positives)} queries a database image: none has a "
            "potential positive. Check the rule that they were chosen by."
        )
    return queries


def rows_of(images: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Where in a list of images some of them stand.

    Args:
        images: int64 [n].
        ids: int64 [m], ascending, those that have a descriptor.

    Raises:
        ValueError: an image is not among them.
    """
    rows = np.searchsorted(ids, images)
    missing = images[ids.take(rows, mode="clip") != images]
    if len(missing):
        raise ValueError(
            "`ids` must hold all images that `required_images` gives. "
            f"Received: {len(ids)} ids without image {missing[0]}"
        )
    return rows
