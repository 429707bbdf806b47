"""Re-ranking by how many neighbours two images share: k-reciprocal encoding."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy import sparse

from keras_sare.retrieval.checks import check_block_rows, check_norms, check_shapes, check_wanted
from keras_sare.retrieval.search import nearest
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress


@plain_arguments
def k_reciprocal(
    queries: np.ndarray,
    database: np.ndarray,
    n: int,
    k1: int = 20,
    k2: int = 6,
    original_weight: float = 0.3,
    block_rows: int = 65536,
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks database images by a mixture of their distance and of the neighbours that they share with the query.

    Every image, queries included, is encoded by its k-reciprocal neighbours (those that have it among their `k1`
    nearest too), widened by those of a neighbour that has more than two thirds of its own among them, weighted by
    exp(-distance) and averaged over its `k2` nearest images. The Jaccard distance of two such encodings joins the
    original distance, with weight `original_weight`. Distances are squared Euclidean ones over the largest of a row.

    Reference: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017,
    sections 3.2 to 3.5. The same numbers as the authors' Python code ("person-re-ranking",
    `re_ranking_ranklist.py`), whose N x N matrices are never made. As there, queries count as neighbours of each other:
    a query's ranking depends on which others are asked with it.

    Cost: two exact searches of all M = Q + N images in themselves (nearest and farthest), 2 M^2 D multiplications; all
    else grows with M k1 k2. Memory: neighbours and encodings, about M k1 k2 numbers at most, and `[Q, n]` results.

    Args:
        queries: `[Q, D]` descriptors of norm 1.
        database: `[N, D]` descriptors of norm 1, array or memory map.
        n: images wanted for a query, 1 to N; N for the whole ranking.
        k1: neighbours of an image, itself not counted, below Q + N.
        k2: images, itself counted, over which encodings are averaged, 1 to k1 + 1; 1 for none.
        original_weight: lambda of the paper, from 0 to 1; 1 leaves the ranking as it is.
        block_rows: rows that are searched for, searched or gathered at a time.

    Returns:
        Distances, float32 `[Q, n]`, and database indices, int64 `[Q, n]`, nearest first.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: shapes do not agree, `n`, `k1`, `k2`, `original_weight` or `block_rows` is out of range, or a
            descriptor is not finite or not of norm 1.
    """
    check_shapes(queries, database)
    check_wanted(n, len(database))
    check_block_rows(block_rows)
    _check(len(queries), len(database), k1, k2, original_weight)
    images = _Images(queries, database, block_rows)
    farthest = images.farthest()
    neighbours = images.neighbours(k1 + 1)
    codes = _encoded(images, neighbours, farthest, k1)
    if k2 > 1:
        codes = _membership(neighbours[:, :k2], 1 / k2) @ codes
    near = nearest(queries, database, n, block_rows)[1]
    distances = np.empty(near.shape, np.float32)
    indices = np.empty(near.shape, np.int64)
    holders = codes[len(queries) :].T.tocsr()
    for query in progress(range(len(queries)), "re-ranking", unit="query"):
        shared = _shared(codes[query], holders)
        # An image that shares nothing can be among the first n only if its distance is.
        found = np.union1d(np.flatnonzero(shared), near[query])
        original = images.distances(np.full(len(found), query), len(queries) + found) / farthest[query]
        jaccard = 1 - shared[found] / (2 - shared[found])
        mixed = original_weight * original + (1 - original_weight) * jaccard
        order = np.lexsort((original, mixed))[:n]
        distances[query] = mixed[order]
        indices[query] = found[order]
    return distances, indices


@dataclasses.dataclass(frozen=True)
class _Images:
    """Queries and database as one list of images, queries first."""

    queries: np.ndarray
    database: np.ndarray
    block_rows: int

    def __len__(self) -> int:
        return len(self.queries) + len(self.database)

    def blocks(self, description: str) -> Iterator[tuple[slice, np.ndarray]]:
        """All images in order, some at a time: where they are in the list, and their descriptors."""
        parts = ((0, self.queries, "queries"), (len(self.queries), self.database, "database"))
        starts = [(first, rows, name, at) for first, rows, name in parts for at in range(0, len(rows), self.block_rows)]
        for first, rows, name, at in progress(starts, description, unit="block"):
            block = rows[at : at + self.block_rows]
            check_norms(block, name)
            yield slice(first + at, first + at + len(block)), block

    def neighbours(self, k: int) -> np.ndarray:
        """The `k` nearest of all images to each, itself counted: integers [images, k]."""
        result = np.empty((len(self), k), np.int32 if len(self) < 2**31 else np.int64)
        for where, rows in self.blocks("neighbours"):
            found = [nearest(rows, part, min(k, len(part)), self.block_rows) for part in (self.queries, self.database)]
            distances = np.concatenate([found[0][0], found[1][0]], axis=1)
            indices = np.concatenate([found[0][1], found[1][1] + len(self.queries)], axis=1)
            order = np.argsort(distances, axis=1, kind="stable")[:, :k]
            result[where] = np.take_along_axis(indices, order, axis=1)
        return result

    def farthest(self) -> np.ndarray:
        """Squared distance of each image to the farthest of all: float32 [images]."""
        result = np.empty(len(self), np.float32)
        for where, rows in self.blocks("farthest"):
            # Of unit vectors the farthest is the nearest to the opposite one: |x - y|^2 + |x + y|^2 = 4.
            opposite = [nearest(-rows, part, 1, self.block_rows)[0][:, 0] for part in (self.queries, self.database)]
            result[where] = 4 - np.minimum(*opposite)
        return np.maximum(result, np.float32(1e-12))

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Descriptors of images by their place in the list: float32 [indices, D]."""
        result = np.empty((len(indices), self.database.shape[1]), np.float32)
        asks = indices < len(self.queries)
        result[asks] = self.queries[indices[asks]]
        result[~asks] = self.database[indices[~asks] - len(self.queries)]
        return result

    def distances(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Squared distances of pairs of images: float32 [pairs]."""
        result = np.empty(len(left), np.float32)
        for start in range(0, len(left), self.block_rows):
            pairs = slice(start, start + self.block_rows)
            difference = self.rows(left[pairs]) - self.rows(right[pairs])
            result[pairs] = np.einsum("pd,pd->p", difference, difference)
        return result


def _encoded(images: _Images, neighbours: np.ndarray, farthest: np.ndarray, k1: int) -> sparse.csr_matrix:
    """Weights of every image's widened k-reciprocal neighbours, [images, images], each row of sum 1."""
    # Half of k1 is rounded to even where it ends in .5, as in the authors' code.
    reciprocal = _reciprocal(neighbours)
    narrow = _reciprocal(neighbours[:, : round(k1 / 2) + 1])
    sizes = np.diff(narrow.indptr)
    parts = []
    step = max(1, images.block_rows // k1)
    for start in progress(range(0, len(images), step), "encoding", unit="block"):
        own = reciprocal[start : start + step]
        accepted = (own @ narrow).multiply(own).tocsr()
        accepted.data = (3 * accepted.data > 2 * sizes[accepted.indices]).astype(np.float32)
        accepted.eliminate_zeros()
        code = (own + accepted @ narrow).tocsr()
        rows = np.repeat(np.arange(own.shape[0]), np.diff(code.indptr)) + start
        code.data = np.exp(-images.distances(rows, code.indices) / farthest[rows])
        parts.append(sparse.diags(1 / np.asarray(code.sum(axis=1)).ravel()) @ code)
    return sparse.vstack(parts, format="csr", dtype=np.float32)


def _reciprocal(neighbours: np.ndarray) -> sparse.csr_matrix:
    """Ones where two images are among each other's neighbours. An image is its own even among many copies of it."""
    directed = _membership(neighbours, 1)
    mutual = directed.minimum(directed.T.tocsr())
    return mutual.maximum(sparse.identity(len(neighbours), np.float32, format="csr"))


def _membership(neighbours: np.ndarray, value: float) -> sparse.csr_matrix:
    """`value` at the neighbours of each image, float32 [images, images]."""
    size, k = neighbours.shape
    data = np.full(size * k, value, np.float32)
    starts = np.arange(0, size * k + 1, k)
    return sparse.csr_matrix((data, neighbours.ravel(), starts), shape=(size, size))


def _shared(code: sparse.csr_matrix, holders: sparse.csr_matrix) -> np.ndarray:
    """Sum over the encoding's images of the smaller of its weight and every database image's: [database]."""
    held = holders[code.indices]
    weights = np.minimum(np.repeat(code.data, np.diff(held.indptr)), held.data)
    return np.bincount(held.indices, weights, minlength=holders.shape[1])


def _check(queries: int, database: int, k1: int, k2: int, original_weight: float) -> None:
    if not queries:
        raise ValueError("`queries` must hold at least one descriptor. Received: len(queries)=0")
    if not 1 <= k1 < queries + database:
        raise ValueError(
            f"`k1` must be between 1 and the number of other images, {queries + database - 1}; set it to about the "
            f"number of images that an object has. Received: k1={k1}"
        )
    if not 1 <= k2 <= k1 + 1:
        raise ValueError(f"`k2` must be between 1 and `k1` + 1, {k1 + 1}. Received: k2={k2}")
    if not 0 <= original_weight <= 1:
        raise ValueError(f"`original_weight` must be between 0 and 1. Received: original_weight={original_weight}")
