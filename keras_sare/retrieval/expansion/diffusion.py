"""Search by diffusion on the graph of nearest neighbours."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy import sparse

from keras_sare.retrieval.checks import check_norms, check_shapes, check_wanted
from keras_sare.retrieval.expansion.knn_graph import affinity, affinity_graph
from keras_sare.retrieval.search import nearest
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress

# Columns that one pass over the graph serves: a row of them fills a line of the processor's cache.
_QUERIES_AT_A_TIME = 16


@plain_arguments
@dataclasses.dataclass(frozen=True)
class DiffusionSettings:
    """How `diffuse` searches; the defaults are the paper's for global descriptors.

    Attributes:
        k: neighbours of a database image in the graph, itself counted.
        query_k: database images that a query is joined to.
        gamma: exponent of similarities.
        alpha: share of its score that an image gets from its neighbours, between 0 and 1.
        iterations: of conjugate gradients, at most.
        tolerance: they end where the residual is this fraction of the right-hand side.
        truncate: the graph is cut down to this many images nearest to the query; None for the whole graph. For
            databases so large that a pass over the graph takes too long.

    Raises:
        ValueError: a setting is out of range.
    """

    k: int = 50
    query_k: int = 10
    gamma: float = 3.0
    alpha: float = 0.99
    iterations: int = 20
    tolerance: float = 1e-6
    truncate: int | None = None

    def __post_init__(self) -> None:
        for name in ("k", "query_k", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={getattr(self, name)}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` must be between 0 and 1; the paper takes 0.99. Received: alpha={self.alpha}")
        if not 0 < self.gamma < np.inf:
            raise ValueError(f"`gamma` must be above 0, and finite; the paper takes 3. Received: gamma={self.gamma}")
        if self.tolerance < 0:
            raise ValueError(f"`tolerance` must be at least 0. Received: tolerance={self.tolerance}")
        if self.truncate is not None and self.truncate < self.query_k:
            raise ValueError(
                f"`truncate` must be at least `query_k`, or None. "
                f"Received: truncate={self.truncate}, query_k={self.query_k}"
            )


@plain_arguments
def diffuse(
    queries: np.ndarray,
    database: np.ndarray,
    n: int,
    settings: DiffusionSettings | None = None,
    graph: sparse.csr_matrix | None = None,
    block_rows: int = 65536,
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks database images by f = (I - alpha S)^-1 y: by what flows to them from the query along the graph.

    y is the affinity max(0, similarity) ** gamma of the query to its `query_k` nearest images, 0 elsewhere;
    S = D^-1/2 W D^-1/2, with the affinities W of mutual neighbours and their row sums D. An image far from the query
    but joined to it by a chain of alike images comes before an image of the same similarity that no chain leads to.
    Images that nothing reaches follow by similarity.

    Reference: Iscen et al., "Efficient Diffusion on Region Manifolds: Recovering Small Objects with Compact CNN
    Representations", CVPR 2017, sections 3 and 4, global descriptors; with `truncate` the sub-graph of the images
    nearest to the query is normalised anew, as there. Follows the public MATLAB code ("diffusion-retrieval"), except
    that after the last iteration MATLAB's `pcg` gives back the one of least residual, this the last one. With enough
    iterations the same rankings as the Python code "manifold-diffusion", and the closed form.

    Cost: the graph N^2 D multiplications, once; a query N D for its neighbours and `iterations` passes over the graph
    (at most k N numbers), or over truncate^2 / N of it. Memory: the graph, N numbers for some queries at a time, and
    `[Q, max(n, query_k, truncate)]` neighbours.

    Args:
        queries: `[Q, D]` descriptors of norm 1.
        database: `[N, D]` descriptors of norm 1, array or memory map.
        n: images wanted for a query, 1 to N; N for the whole ranking.
        settings: by default the paper's. A database in which an object has fewer than 50 images wants a smaller `k`.
        graph: `affinity_graph(database, settings.k, settings.gamma)`, which is built where it is None. Keep it where
            queries come one after the other.
        block_rows: database rows searched at a time.

    Returns:
        Scores, float32 `[Q, n]`, highest first, 0 where nothing reaches an image, and database indices, int64 `[Q, n]`.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: shapes do not agree, `n`, `block_rows` or a setting does not fit the database, or a descriptor is
            not finite or not of norm 1.
    """
    settings = settings or DiffusionSettings()
    size = len(database)
    check_shapes(queries, database)
    check_wanted(n, size)
    check_norms(queries, "queries")
    if max(settings.k, settings.query_k) > size:
        raise ValueError(
            f"`k` and `query_k` must be at most the number of database rows, {size}; set them to about the number of "
            f"images that an object has. Received: k={settings.k}, query_k={settings.query_k}"
        )
    if graph is None:
        graph = affinity_graph(database, settings.k, settings.gamma, block_rows)
    elif graph.shape != (size, size):
        raise ValueError(
            f"`graph` must be of this database, [{size}, {size}]; see `affinity_graph`. "
            f"Received: graph.shape={graph.shape}"
        )
    wanted = min(size, max(n, settings.query_k, settings.truncate or 0))
    distances, near = nearest(queries, database, wanted, block_rows)
    sources = affinity(distances[:, : settings.query_k], settings.gamma)
    scores = np.empty((len(queries), n), np.float32)
    indices = np.empty((len(queries), n), np.int64)
    for query, flow, images in progress(_flows(graph, near, sources, settings), "diffusion", len(queries)):
        scores[query], indices[query] = _ranking(flow, images, near[query], n)
    return scores, indices


def _flows(
    graph: sparse.csr_matrix, near: np.ndarray, sources: np.ndarray, settings: DiffusionSettings
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields query, f and the images that f is of."""
    query_k = sources.shape[1]
    if settings.truncate is not None:
        for query, neighbours in enumerate(near):
            images = np.sort(neighbours[: settings.truncate])
            right = np.zeros((len(images), 1), np.float32)
            right[np.searchsorted(images, neighbours[:query_k]), 0] = sources[query]
            yield query, solved(linear_system(graph[images][:, images], settings.alpha), right, settings)[:, 0], images
        return
    system = linear_system(graph, settings.alpha)
    images = np.arange(graph.shape[0])
    for start in range(0, len(near), _QUERIES_AT_A_TIME):
        batch = range(start, min(start + _QUERIES_AT_A_TIME, len(near)))
        right = np.zeros((len(images), len(batch)), np.float32)
        for column, query in enumerate(batch):
            right[near[query, :query_k], column] = sources[query]
        for query, flow in zip(batch, solved(system, right, settings).T, strict=True):
            yield query, flow, images


def linear_system(graph: sparse.csr_matrix, alpha: float) -> sparse.csr_matrix:
    """I - alpha D^-1/2 W D^-1/2; images without neighbours keep what the query gives them."""
    degrees = np.asarray(graph.sum(axis=1, dtype=np.float64)).ravel()
    scale = sparse.diags(np.where(degrees > 0, degrees, np.inf) ** -0.5, dtype=np.float32)
    return sparse.csr_matrix(sparse.identity(len(degrees), np.float32) - np.float32(alpha) * (scale @ graph @ scale))


def solved(system: sparse.csr_matrix, right: np.ndarray, settings: DiffusionSettings) -> np.ndarray:
    """Conjugate gradients for all columns of `right`, float32 [N, queries], in one pass over the system an iteration.

    In single precision, because reading the columns takes the time; only sums over images are in double precision.
    """
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = right.copy()
    power = _dots(residual, residual)
    enough = settings.tolerance**2 * power
    for _ in range(settings.iterations):
        # A column that is done takes steps of length 0: its right-hand side may be 0 altogether.
        active = power > enough
        if not active.any():
            break
        moved = system @ direction
        step = np.divide(power, _dots(direction, moved), out=np.zeros_like(power), where=active).astype(np.float32)
        solution += step * direction
        residual -= step * moved
        before = power
        power = _dots(residual, residual)
        direction *= np.divide(power, before, out=np.zeros_like(power), where=active).astype(np.float32)
        direction += residual
    return solution


def _dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("nq,nq->q", left, right, dtype=np.float64)


def _ranking(flow: np.ndarray, images: np.ndarray, near: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `n` of the images that something flows to, then of the others in the order of `near`."""
    reached = np.flatnonzero(flow > 0)
    if len(reached) > n:
        reached = reached[flow[reached] >= np.partition(flow[reached], -n)[-n]]
    reached = reached[np.argsort(-flow[reached], kind="stable")][:n]
    scores = np.zeros(n, np.float32)
    ranking = np.empty(n, np.int64)
    scores[: len(reached)] = flow[reached]
    ranking[: len(reached)] = images[reached]
    if len(reached) < n:
        others = near[~np.isin(near, images[reached])]
        ranking[len(reached) :] = others[: n - len(reached)]
    return scores, ranking
