"""Query expansion: a second query out of the first one and what it found; the same for every database image."""

import numpy as np

from keras_sare.retrieval.checks import check_block_rows
from keras_sare.retrieval.search import nearest
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress


@plain_arguments
def average_expand(queries: np.ndarray, database: np.ndarray, n: int = 10, block_rows: int = 65536) -> np.ndarray:
    """Average query expansion (AQE): the mean of each query and the `n` database descriptors nearest to it.

    Reference: Chum et al., "Total Recall: Automatic Query Expansion with a Generative Feature Model for Object
    Retrieval", ICCV 2007, "average query expansion". There results are verified by their geometry first; with
    descriptors alone, as here, the first `n` are taken as they come.

    Args:
        queries: `[Q, D]` descriptors of norm 1.
        database: `[N, D]` descriptors of norm 1, array or memory map.
        n: database descriptors that join a query, 1 to N. Wrong ones do harm: fewer than an object has images.
        block_rows: database rows searched at a time, and at most that many (at least `n`) gathered.

    Returns:
        The new queries, float32 `[Q, D]`, of norm 1. Search with them.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: shapes do not agree, `n` or `block_rows` is out of range, or a descriptor is not finite.
    """
    return alpha_expand(queries, database, n, 0.0, block_rows)


@plain_arguments
def alpha_expand(
    queries: np.ndarray, database: np.ndarray, n: int = 50, alpha: float = 3.0, block_rows: int = 65536
) -> np.ndarray:
    """Alpha query expansion: as `average_expand`, each neighbour weighted by its similarity to the query ** alpha.

    The query itself has weight 1. So many neighbours do less harm, because those that are unlike hardly count; opposed
    ones (negative similarity) do not at all.

    Reference: Radenovic, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019,
    "alpha-weighted query expansion"; alpha = 3 and n = 50 are theirs, alpha = 0 is AQE. The same vectors as fast-reid's
    `aqe`, which counts the query as its own nearest neighbour, where no neighbour is opposed to the query.

    Args:
        queries: `[Q, D]` descriptors of norm 1.
        database: `[N, D]` descriptors of norm 1, array or memory map.
        n: database descriptors that join a query, 1 to N.
        alpha: exponent of the similarity, at least 0.
        block_rows: database rows searched at a time, and at most that many (at least `n`) gathered.

    Returns:
        The new queries, float32 `[Q, D]`, of norm 1. Search with them.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: shapes do not agree, `n`, `alpha` or `block_rows` is out of range, or a descriptor is not finite.
    """
    _check(database, n, alpha, block_rows)
    indices = nearest(queries, database, n, block_rows)[1]
    out = np.empty(queries.shape, np.float32)
    step = max(1, block_rows // n)
    for start in range(0, len(queries), step):
        chosen = slice(start, start + step)
        out[chosen] = _combined(queries[chosen], database[indices[chosen]], alpha)
    return out


@plain_arguments
def augment_database(
    database: np.ndarray, n: int = 10, alpha: float = 3.0, out: np.ndarray | None = None, block_rows: int = 65536
) -> np.ndarray:
    """Database-side augmentation: every database descriptor is expanded by its neighbours, as `alpha_expand` does.

    It is done once, before any query; it takes an exact search of the database in itself, N^2 D multiplications.

    Reference: Turcot, Lowe, ICCV workshops 2009; Arandjelovic, Zisserman, "Three things everyone should know to improve
    object retrieval", CVPR 2012. Both add up words of geometrically verified neighbours; here the weights
    are those of alpha query expansion.

    Args:
        database: `[N, D]` descriptors of norm 1, array or memory map.
        n: other images that join an image, 1 to N - 1.
        alpha: exponent of the similarity, at least 0; 0 for the mean.
        out: where the result is written, `[N, D]`; may be a memory map, must not be `database`. A new float32 array
            where it is None.
        block_rows: rows that are expanded at a time, and that are searched at a time.

    Returns:
        `out`, of norm 1.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: `n`, `alpha` or `block_rows` is out of range, a descriptor is not finite, or `out` does not fit or
            shares memory with `database`.
    """
    _check(database, n, alpha, block_rows, others=1)
    out = np.empty(database.shape, np.float32) if out is None else out
    if out.shape != database.shape or np.may_share_memory(out, database):
        raise ValueError(
            "`out` must have the shape of `database` and other memory, because neighbours are read until the end. "
            f"Received: out.shape={out.shape}, database.shape={database.shape}"
        )
    for start in progress(range(0, len(database), block_rows), "augmentation", unit="block"):
        rows = np.arange(start, min(start + block_rows, len(database)))
        indices = nearest(database[rows], database, n, block_rows, exclude=list(rows[:, None]))[1]
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) * n // block_rows)):
            out[rows[part]] = _combined(database[rows[part]], database[indices[part]], alpha)
    return out


def _combined(own: np.ndarray, neighbours: np.ndarray, alpha: float) -> np.ndarray:
    """Sum of own descriptors, [Q, D], and weighted neighbours, [Q, n, D], scaled to norm 1."""
    own = own.astype(np.float32)
    neighbours = neighbours.astype(np.float32)
    weights = np.maximum(np.einsum("qd,qnd->qn", own, neighbours), 0) ** np.float32(alpha)
    total = own + np.einsum("qn,qnd->qd", weights, neighbours)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))


def _check(database: np.ndarray, n: int, alpha: float, block_rows: int, others: int = 0) -> None:
    if not 1 <= n <= len(database) - others:
        raise ValueError(
            f"`n` must be between 1 and the number of {'other ' * others}database rows, {len(database) - others}; "
            f"let fewer neighbours join. Received: n={n}"
        )
    if not 0 <= alpha < np.inf:
        raise ValueError(f"`alpha` must be at least 0, and finite; 0 gives the mean. Received: alpha={alpha}")
    check_block_rows(block_rows)
