"""The graph of mutual nearest neighbours of a database."""

import numpy as np
from scipy import sparse

from keras_sare.retrieval.checks import check_block_rows, check_norms
from keras_sare.retrieval.search import nearest
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress


@plain_arguments
def affinity_graph(database: np.ndarray, k: int = 50, gamma: float = 3.0, block_rows: int = 65536) -> sparse.csr_matrix:
    """Joins images that are among each other's `k` nearest, with the affinity max(0, similarity) ** gamma.

    It knows no query, so it is built once for a database. The neighbours are exact: N^2 D multiplications, by far the
    largest part of diffusion's work.

    Reference: Iscen et al., "Efficient Diffusion on Region Manifolds: Recovering Small Objects with Compact CNN
    Representations", CVPR 2017, section 3. Follows its public MATLAB code ("diffusion-retrieval", `knngraph.m`): k = 50
    and gamma = 3 for global descriptors, and the image itself is one of its `k` neighbours. The same graph as the
    Python code "manifold-diffusion".

    Args:
        database: `[N, D]` descriptors of norm 1, array or memory map.
        k: neighbours of an image, itself counted, 1 to N. Above the number of images of an object it joins objects.
        gamma: exponent of the similarity, above 0.
        block_rows: rows that are searched for, and searched, at a time. Besides them it takes some 60 k N bytes.

    Returns:
        `[N, N]` symmetric float32 matrix without explicit zeros, its diagonal empty.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: `k`, `gamma` or `block_rows` is out of range, or a descriptor is not finite or not of norm 1.
    """
    if not 0 < gamma < np.inf:
        raise ValueError(f"`gamma` must be above 0, and finite; the paper takes 3. Received: gamma={gamma}")
    check_block_rows(block_rows)
    size = len(database)
    if not 1 <= k <= size:
        raise ValueError(
            f"`k` must be between 1 and the number of database rows, {size}; set it to about the number of images that "
            f"an object has. Received: k={k}"
        )
    indices = np.empty((size, k), np.int32 if size < 2**31 else np.int64)
    affinities = np.empty((size, k), np.float32)
    for start in progress(range(0, size, block_rows), "graph", unit="block"):
        rows = slice(start, start + block_rows)
        check_norms(database[rows], "database")
        distances, indices[rows] = nearest(database[rows], database, k, block_rows)
        affinities[rows] = affinity(distances, gamma)
    affinities[indices == np.arange(size)[:, None]] = 0
    starts = np.arange(0, size * k + 1, k)
    directed = sparse.csr_matrix((affinities.ravel(), indices.ravel(), starts), shape=(size, size))
    # What only one of the two has among its neighbours is 0 for the other.
    return directed.minimum(directed.T.tocsr())


def affinity(distances: np.ndarray, gamma: float) -> np.ndarray:
    """max(0, similarity) ** gamma of vectors of norm 1 with these squared distances."""
    return np.maximum(1 - distances / 2, 0) ** np.float32(gamma)
