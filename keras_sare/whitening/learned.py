"""Whitening learned from pairs of matching images."""

import logging

import numpy as np

from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress
from keras_sare.whitening.fitted import FittedWhitening
from keras_sare.whitening.spectrum import add_product, blocks, leading, rank_of, with_fixed_signs

logger = logging.getLogger(__name__)

EPSILON_THRESHOLD = 1e-12
"""An `epsilon` below this share of the largest variance between pairs would be lost in rounding."""


@plain_arguments
def fit_learned_whitening(
    descriptors: np.ndarray,
    queries: np.ndarray,
    positives: np.ndarray,
    dim: int | None = None,
    principal: int | None = None,
    epsilon: float = 0.0,
    block: int = 1024,
) -> FittedWhitening:
    """Fits the learned whitening Lw (Radenovic et al., ECCV 2016, "Whitening and dimensionality reduction").

    Directions in which matching images differ are damped, those in which all images differ are kept first. With m the
    mean of the pairs' queries, S the mean of (q - p)(q - p)^T over the pairs and T the mean of (x - m)(x - m)^T over
    all descriptors: P = S^-1/2 V, where V are the eigenvectors of S^-1/2 T S^-1/2 by falling eigenvalue. So
    P^T S P = 1 and P^T T P is diagonal.

    Images that results are reported for must not be among the descriptors: see `warn_of_overlap`.

    Directions in which no descriptor varies (channels that are always zero) are left out. S must have full rank in the
    others: few pairs say nothing about many directions, and dividing by what is zero only for lack of pairs would put
    noise first. Then fit on more pairs, or within the first `principal` directions of T only (PCA, then Lw), or give
    an `epsilon`.

    Args:
        descriptors: `[n, D]` finite numbers, array or memory map. Up to eight D x D matrices of float64 are held:
            reduce wide descriptors with PCA first.
        queries: `[N]` integers, rows of the queries of the matching pairs; repeated ones count repeatedly.
        positives: `[N]` integers, row of each query's match.
        dim: dimension d after whitening; by default as many as there are directions.
        principal: principal directions of the descriptors that are considered; by default all in which they vary.
        epsilon: added to the diagonal of S, in the descriptors' units squared. 1e-10 is what the authors' code adds
            to an S that it finds singular. Directions that no pair speaks of then come first.
        block: rows converted to double at a time: 8 `block` D bytes.

    Returns:
        The fitted transform; its eigenvalues are those of S^-1/2 T S^-1/2. Equal inputs give equal results.

    Raises:
        ValueError: the pairs leave directions undetermined, with their number; `dim` or `principal` is more than the
            directions in which descriptors vary; or an argument is out of range or not finite.
    """
    _check_arguments(descriptors, dim, epsilon, block)
    queries, positives = _checked_pairs(queries, positives, len(descriptors))
    mean = _mean(descriptors, queries, block)
    variances, basis = _principal_directions(descriptors, mean, principal, block)
    if dim is not None and dim > len(variances):
        raise ValueError(
            f"`dim` must be at most {len(variances)}, the number of directions that are considered. Received: dim={dim}"
        )
    within = _pair_scatter(descriptors, queries, positives, basis, block)
    within[np.diag_indices_from(within)] += epsilon
    spread, axes = leading(within, len(within))
    _check_pairs_suffice(spread, mean, len(queries), epsilon)
    whitener = axes / np.sqrt(spread)
    between = (whitener.T * variances) @ whitener
    eigenvalues, rotation = leading(np.asfortranarray(between), len(variances) if dim is None else dim)
    logger.info("Learned whitening: %d of %d directions from %d pairs", len(eigenvalues), len(mean), len(queries))
    projection = np.ascontiguousarray(basis @ (whitener @ rotation), dtype=np.float32)
    return FittedWhitening(mean, with_fixed_signs(projection), eigenvalues)


def _mean(descriptors: np.ndarray, rows: np.ndarray, block: int) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        total = sum(descriptors[rows[some]].sum(axis=0, dtype=np.float64) for some in blocks(len(rows), block))
    return np.asarray(total) / len(rows)


def _principal_directions(
    descriptors: np.ndarray, mean: np.ndarray, principal: int | None, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """Second moments about `mean` and their directions `[D, k]`, of all directions in which descriptors vary."""
    scatter = np.zeros((len(mean), len(mean)), order="F")
    for rows in progress(blocks(len(descriptors), block), "whitening: covariance", unit="block"):
        with np.errstate(invalid="ignore"):
            scatter = add_product(scatter, descriptors[rows] - mean)
    if not np.isfinite(np.diagonal(scatter)).all():
        raise ValueError(
            "`descriptors` must hold finite numbers only; look for NaN in the model that made them. "
            f"Received: {int((~np.isfinite(np.diagonal(scatter))).sum())} of {len(mean)} columns with others"
        )
    variances, directions = leading(scatter, len(mean))
    variances /= len(descriptors)
    rank = rank_of(variances, mean)
    number = rank if principal is None else principal
    if not 1 <= number <= rank:
        raise ValueError(
            f"`principal` must be between 1 and {rank}, the number of directions in which the {len(descriptors)} "
            f"descriptors differ. Received: principal={principal}"
        )
    return variances[:number], directions[:, :number]


def _pair_scatter(
    descriptors: np.ndarray, queries: np.ndarray, positives: np.ndarray, basis: np.ndarray, block: int
) -> np.ndarray:
    """S along the columns of `basis`; its lower triangle."""
    scatter = np.zeros((basis.shape[1], basis.shape[1]), order="F")
    for pairs in progress(blocks(len(queries), block), "whitening: pairs", unit="block"):
        difference = descriptors[queries[pairs]].astype(np.float64) - descriptors[positives[pairs]]
        scatter = add_product(scatter, difference @ basis)
    return np.asfortranarray(scatter / len(queries))


def _check_pairs_suffice(spread: np.ndarray, mean: np.ndarray, pairs: int, epsilon: float) -> None:
    """Checks the eigenvalues of S + epsilon 1."""
    directions = len(spread)
    rank = rank_of(spread - epsilon, mean)
    least = max(EPSILON_THRESHOLD * spread[0], 1e-10)
    if rank == 0:
        raise ValueError(
            f"`queries` and `positives` must pair images that differ: the descriptors of all {pairs} pairs are equal. "
            "Look for copies of images, or for a model that gives one descriptor for all."
        )
    if rank < directions and epsilon < EPSILON_THRESHOLD * spread[0]:
        raise ValueError(
            f"`queries` and `positives` must differ in all {directions} directions in which the descriptors vary, but "
            f"the {pairs} pairs differ in {rank}: give more pairs, or principal={rank} or fewer, or an `epsilon` of at "
            f"least {2 * least:.1e}. Received: epsilon={epsilon}"
        )
    if rank < directions:
        logger.warning(
            "Learned whitening: %d pairs differ in %d of %d directions; the others, divided by the root of epsilon, "
            "come first. More pairs, or principal=%d, would do without",
            pairs,
            rank,
            directions,
            rank,
        )


def _checked_pairs(queries: np.ndarray, positives: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    queries = np.asarray(queries)
    positives = np.asarray(positives)
    for name, index in {"queries": queries, "positives": positives}.items():
        if index.ndim != 1 or not len(index) or index.dtype.kind not in "iu":
            raise ValueError(
                f"`{name}` must be [N] integers, N of at least 1. Received: {name}.shape={index.shape}, {index.dtype}"
            )
        if index.min() < 0 or index.max() >= rows:
            raise ValueError(
                f"`{name}` must be rows of `descriptors`, 0 to {rows - 1}. "
                f"Received: {name} from {index.min()} to {index.max()}"
            )
    if len(queries) != len(positives):
        raise ValueError(
            "`queries` and `positives` must be as long as one another: entry i of both is a pair. "
            f"Received: len(queries)={len(queries)}, len(positives)={len(positives)}"
        )
    if same := int((queries == positives).sum()):
        raise ValueError(
            "`queries` and `positives` must pair different images: leave out pairs of an image with itself. "
            f"Received: {same} such pairs"
        )
    return queries, positives


def _check_arguments(descriptors: np.ndarray, dim: int | None, epsilon: float, block: int) -> None:
    if descriptors.ndim != 2 or descriptors.shape[0] < 2:
        raise ValueError(
            f"`descriptors` must be [n, D] with n of at least 2. Received: descriptors.shape={descriptors.shape}"
        )
    if block < 1 or not 0 <= epsilon < np.inf or (dim is not None and dim < 1):
        raise ValueError(
            "`dim` and `block` must be at least 1 and `epsilon` at least 0. "
            f"Received: dim={dim}, block={block}, epsilon={epsilon}"
        )
