"""Hard negatives from other clusters: which images may be one, and the search among them."""

import numpy as np

from keras_sare.mining.candidates import rows_within
from keras_sare.retrieval.memory_map import release_pages
from keras_sare.utils.progress import progress

# Distances that are searched at a time: few enough to stay near the processor, enough for a fast matrix product.
_CACHED = 1 << 21


def negative_pool(
    clusters: np.ndarray, size: int, count: int, one_per_cluster: bool, random: np.random.Generator
) -> np.ndarray:
    """Draws the images that may be negatives.

    Args:
        clusters: int64 [N] cluster of each image; there must be `count` negatives for each of them.
        size: images to draw. More are drawn where some cluster would not find `count` negatives among these.
        count: negatives that an image of any cluster must find.
        one_per_cluster: whether its negatives must be of different clusters.
        random: the source of the draw.

    Returns:
        int64 [n] images, ascending.
    """
    order = random.permutation(len(clusters))
    drawn = clusters[order]
    _, first, inverse = np.unique(drawn, return_index=True, return_inverse=True)
    if one_per_cluster:
        enough = np.sort(first)[count] + 1
    else:
        by_cluster = np.argsort(inverse, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[by_cluster] = np.arange(len(order)) - np.searchsorted(inverse[by_cluster], inverse[by_cluster])
        # After each image: how many are drawn that are not of the cluster most drawn so far.
        enough = np.searchsorted(np.arange(len(order)) - np.maximum.accumulate(rank), count) + 1
    return np.sort(order[: max(size, enough)])


def hardest_negatives(
    queries: np.ndarray,
    query_clusters: np.ndarray,
    database: np.ndarray,
    clusters: np.ndarray,
    count: int,
    one_per_cluster: bool,
    memory_limit: float = 5e8,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the database images of other clusters whose descriptors are nearest to each query's.

    The database is read once, block by block. Distances come from float32 matrix products, as in
    `keras_sare.retrieval.nearest`.

    Args:
        queries: [Q, D] descriptors.
        query_clusters: int64 [Q] their clusters, from which no negative comes.
        database: [N, D] descriptors, array or memory map, of any float type.
        clusters: int64 [N] cluster of each database row; -1 for rows that are never negatives.
        count: negatives per query.
        one_per_cluster: N2 of the paper, at most one negative from a cluster; else N1, any.
        memory_limit: bytes for the part of the database that is held at a time.

    Returns:
        Squared distances, float32 [Q, count], and database rows, int64 [Q, count], nearest first, equal ones by row.

    Raises:
        ValueError: a descriptor is not finite, or a query has fewer than `count` negatives.
    """
    queries = _finite_float32(queries, "queries")
    best = np.full((len(queries), 0), np.inf, np.float32), np.zeros((len(queries), 0), np.int64)
    step = rows_within(memory_limit, queries, database)
    rows = np.flatnonzero(clusters >= 0)
    # Blocks of the whole database, not of the wanted rows: of a mapped file whole pages around a row take memory.
    starts = np.arange(0, len(database), step)
    for block in progress(np.split(rows, np.searchsorted(rows, starts[1:])), "mining", unit="block"):
        read = _finite_float32(database[block], "database")
        near, found = _nearest_in_block(queries, query_clusters, read, clusters[block], count, one_per_cluster)
        distances = np.concatenate([best[0], near], axis=1)
        found = np.concatenate([best[1], block[found]], axis=1)
        best = _first(distances, found, clusters[found] if one_per_cluster else None, count)
        release_pages(database)
    if not np.isfinite(best[0]).all() or best[0].shape[1] < count:
        raise ValueError(
            f"`clusters` must leave each query {count} negatives from "
            f"{'as many ' if one_per_cluster else ''}other clusters. Received: count={count}, {len(rows)} rows"
        )
    return best


def _nearest_in_block(
    queries: np.ndarray,
    query_clusters: np.ndarray,
    block: np.ndarray,
    clusters: np.ndarray,
    count: int,
    one_per_cluster: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows of a block, and infinite distances where it has too few."""
    shape = len(queries), min(count, len(block))
    near = np.empty(shape, np.float32)
    found = np.empty(shape, np.int64)
    norms = np.einsum("nd,nd->n", block, block)
    step = max(1, _CACHED // max(1, len(block)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        chunk = queries[part]
        line = np.arange(len(queries[part]))
        distances = np.einsum("qd,qd->q", chunk, chunk)[:, None] + norms - 2 * (chunk @ block.T)
        np.maximum(distances, 0, out=distances)
        distances[query_clusters[part, None] == clusters] = np.inf
        for place in range(shape[1]):
            row = distances.argmin(axis=1)
            near[part, place] = distances[line, row]
            found[part, place] = row
            if one_per_cluster:
                distances[clusters[row][:, None] == clusters] = np.inf
            else:
                distances[line, row] = np.inf
    return near, found


def _first(
    distances: np.ndarray, rows: np.ndarray, clusters: np.ndarray | None, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of each line, of each cluster only the nearest one."""
    order = np.lexsort((rows, distances), axis=1)
    distances = np.take_along_axis(distances, order, 1)
    rows = np.take_along_axis(rows, order, 1)
    if clusters is not None:
        clusters = np.take_along_axis(clusters, order, 1)
        same = clusters[:, :, None] == clusters[:, None, :]
        distances[np.tril(same, -1).any(axis=2)] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")
        distances = np.take_along_axis(distances, order, 1)
        rows = np.take_along_axis(rows, order, 1)
    return distances[:, :count], rows[:, :count]


def _finite_float32(rows: np.ndarray, name: str) -> np.ndarray:
    rows = np.ascontiguousarray(rows, np.float32)
    broken = np.flatnonzero(~np.isfinite(np.einsum("rd,rd->r", rows, rows)))
    if len(broken):
        raise ValueError(
            f"`{name}` must hold finite numbers only; look for NaN in the model that made them. "
            f"Received: {len(broken)} broken rows among {len(rows)}"
        )
    return rows
