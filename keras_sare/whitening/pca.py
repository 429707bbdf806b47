"""PCA whitening of descriptors, fitted without ever forming a D x D matrix when there are few samples."""

import logging

import numpy as np

from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress
from keras_sare.whitening.fitted import FittedWhitening
from keras_sare.whitening.spectrum import (
    EPSILON,
    DimensionError,
    add_product,
    blocks,
    leading_variances,
    with_fixed_signs,
)

logger = logging.getLogger(__name__)

MAX_SAMPLES = 10_000


@plain_arguments
def largest_dimension(samples: int, features: int, max_samples: int = MAX_SAMPLES) -> int:
    """Returns the largest whitening dimension that so many samples can give: a check before training.

    Centring takes one degree of freedom, so n samples span at most n - 1 directions. Fewer if samples repeat.

    Args:
        samples: number of descriptors at hand.
        features: their width D.
        max_samples: as in `fit_pca_whitening`.
    """
    return max(0, min(samples - 1, max_samples - 1, features))


@plain_arguments
def fit_pca_whitening(
    descriptors: np.ndarray,
    dim: int,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
    block: int = 1024,
    centred: bool = True,
) -> FittedWhitening:
    """Fits PCA whitening to descriptors of training database images (NetVLAD, section 5.2; Jegou and Chum, ECCV 2012).

    Covariance over n - 1, in double precision; each direction is divided by sqrt(variance + 1e-9). With fewer samples
    than features the eigenvectors come from the n x n Gram matrix of the centred samples instead (the dual problem).

    Descriptors of images that results are reported for must not be among them: see `warn_of_overlap`.
    For descriptors that come in batches see `IncrementalPCAWhitening`.

    Args:
        descriptors: `[n, D]` finite numbers, array or memory map; only one block of it is held in double.
        dim: dimension d after whitening.
        max_samples: at most so many rows, drawn at random, are used.
        seed: of that draw.
        block: columns (rows, when n >= D) centred at a time: 8 `block` n bytes (8 `block` D).
        centred: whether the mean is subtracted. If not, m is 0, and second moments, over n, stand for variances: with
            `shrunk_variances(..., 1)` that is the projection to `dim` which keeps scalar products best (Eckart and
            Young, 1936), for descriptors that were trained for their scalar products.

    Returns:
        The fitted transform. Equal inputs give equal results.

    Raises:
        DimensionError: `dim` is more than the samples give; it has the largest possible one. It is a ValueError.
        ValueError: another argument is out of range, or a descriptor is not finite.
    """
    _check_arguments(descriptors, dim, max_samples, block)
    samples = _draw(len(descriptors), max_samples, seed)
    mean = _mean(descriptors, samples, block)
    origin = mean if centred else np.zeros_like(mean)
    fit = _fit_dual if len(samples) < len(mean) else _fit_primal
    projection, eigenvalues = fit(descriptors, samples, origin, dim, block, len(samples) - int(centred))
    return FittedWhitening(origin, with_fixed_signs(projection), eigenvalues)


@plain_arguments
def shrunk_variances(pca: FittedWhitening, share: float) -> FittedWhitening:
    """Moves the variances of a PCA whitening towards their mean: directions of little variance are blown up less.

    Few descriptors estimate small variances too small. Each becomes (1 - share) variance + share mean, over the
    directions that are kept, as Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 2004, shrink a covariance; for retrieval: Mukundan et al.,
    "Understanding and improving kernel local descriptors", IJCV 2019, section 5 (attenuated whitening).

    Args:
        pca: as `fit_pca_whitening` gives it, cut to its dimension already.
        share: 0 leaves it as it is; with 1 nothing is whitened, and the descriptors are projected alone.

    Raises:
        ValueError: `share` is not in 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be between 0 and 1. Received: share={share}")
    variances = (1 - share) * pca.eigenvalues + share * pca.eigenvalues.mean()
    factors = np.sqrt((pca.eigenvalues + EPSILON) / (variances + EPSILON))
    return FittedWhitening(pca.mean, (pca.projection * factors).astype(np.float32), variances)


def _fit_dual(
    descriptors: np.ndarray, samples: np.ndarray, mean: np.ndarray, dim: int, block: int, degrees: int
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors u of X X^T give those of X^T X: v = X^T u / sqrt(degrees lambda), X centred, `[n, D]`."""
    count = len(samples)
    features = len(mean)
    gram = np.zeros((count, count), order="F")
    for columns in progress(blocks(features, block), "whitening: Gram matrix", unit="block"):
        gram = add_product(gram, (descriptors[samples, columns] - mean[columns]).T)
    eigenvalues, vectors = _leading(gram, count, degrees, dim, mean)
    vectors /= np.sqrt(degrees * eigenvalues * (eigenvalues + EPSILON))
    projection = np.empty((features, dim), np.float32)
    for columns in progress(blocks(features, block), "whitening: projection", unit="block"):
        projection[columns] = (descriptors[samples, columns] - mean[columns]).T @ vectors
    return projection, eigenvalues


def _fit_primal(
    descriptors: np.ndarray, samples: np.ndarray, mean: np.ndarray, dim: int, block: int, degrees: int
) -> tuple[np.ndarray, np.ndarray]:
    scatter = np.zeros((len(mean), len(mean)), order="F")
    for rows in progress(blocks(len(samples), block), "whitening: covariance", unit="block"):
        scatter = add_product(scatter, descriptors[samples[rows]] - mean)
    eigenvalues, vectors = _leading(scatter, len(samples), degrees, dim, mean)
    projection = np.ascontiguousarray(vectors / np.sqrt(eigenvalues + EPSILON), dtype=np.float32)
    return projection, eigenvalues


def _leading(
    scatter: np.ndarray, count: int, degrees: int, dim: int, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    eigenvalues, vectors, share = leading_variances(scatter, count, dim, mean, degrees)
    logger.info("PCA whitening: %d directions hold %.1f %% of the variance", dim, 100 * share)
    return eigenvalues, vectors


def _draw(rows: int, max_samples: int, seed: int) -> np.ndarray:
    if rows <= max_samples:
        return np.arange(rows)
    # Rising, so that a memory map is read from front to back.
    return np.sort(np.random.default_rng(seed).choice(rows, max_samples, replace=False))


def _mean(descriptors: np.ndarray, samples: np.ndarray, block: int) -> np.ndarray:
    mean = np.empty(descriptors.shape[1])
    for columns in progress(blocks(len(mean), block), "whitening: mean", unit="block"):
        with np.errstate(invalid="ignore"):
            mean[columns] = descriptors[samples, columns].mean(axis=0, dtype=np.float64)
    broken = len(mean) - int(np.isfinite(mean).sum())
    if broken:
        raise ValueError(
            "`descriptors` must hold finite numbers only; look for NaN in the model that made them. "
            f"Received: {broken} of {len(mean)} columns with others"
        )
    return mean


def _check_arguments(descriptors: np.ndarray, dim: int, max_samples: int, block: int) -> None:
    if descriptors.ndim != 2 or descriptors.shape[0] < 2:
        raise ValueError(
            f"`descriptors` must be [n, D] with n of at least 2. Received: descriptors.shape={descriptors.shape}"
        )
    if max_samples < 2 or block < 1:
        raise ValueError(
            "`max_samples` must be at least 2 and `block` at least 1. "
            f"Received: max_samples={max_samples}, block={block}"
        )
    count, features = descriptors.shape
    largest = largest_dimension(count, features, max_samples)
    if not 1 <= dim <= largest:
        raise DimensionError(
            f"`dim` must be between 1 and {largest}, because n samples span at most n - 1 directions; lower it or fit "
            f"on more images. Received: dim={dim} with {min(count, max_samples)} samples of width {features}",
            largest,
        )
