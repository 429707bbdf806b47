"""Eigenvectors of scatter matrices, and how many of them mean anything. Everything is float64."""

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.blas import dsyrk

EPSILON = 1e-9
"""What PCA whitening adds to a variance before it divides by its root, as NetVLAD does."""

# A direction counts while its variance is above this share of the largest one and above what rounding to float32 adds.
RELATIVE_THRESHOLD = 1e-10
ROUNDING_THRESHOLD = 1e-14
# Where fewer than one eigenvector in so many is wanted, computing those alone is faster than computing all.
_FEW = 8


class DimensionError(ValueError):
    """More dimensions are wanted than the samples give.

    Args:
        message: for the user.
        largest: dimension that they give.
    """

    def __init__(self, message: str, largest: int) -> None:
        super().__init__(message)
        self.largest = largest


def blocks(length: int, size: int) -> list[slice]:
    """Cuts `range(length)` into slices of at most `size`."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def add_product(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Adds rows^T rows to the lower triangle of a matrix, in place.

    Half the multiplications of `matrix += rows.T @ rows`, and no second matrix.

    Args:
        matrix: `[k, k]`, in Fortran order.
        rows: `[n, k]`.

    Returns:
        `matrix`.
    """
    return dsyrk(1.0, rows, beta=1.0, c=matrix, trans=True, lower=True, overwrite_c=True)


def leading(matrix: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the `number` largest eigenvalues, falling, and their eigenvectors as columns.

    Args:
        matrix: symmetric `[k, k]` in Fortran order, of which the lower triangle is read. It is overwritten.
        number: 1 to k. Memory beside `matrix`: 8 k `number` bytes for few of them, 16 k^2 for many.
    """
    size = len(matrix)
    few = number * _FEW <= size
    eigenvalues, vectors = eigh(
        matrix,
        lower=True,
        overwrite_a=True,
        driver="evr" if few else "evd",
        subset_by_index=(size - number, size - 1) if few else None,
    )
    # A copy in Fortran order: BLAS would copy a reversed view at every product.
    return eigenvalues[::-1][:number].copy(), np.asfortranarray(vectors[:, ::-1][:, :number])


def rank_of(eigenvalues: np.ndarray, mean: np.ndarray) -> int:
    """Counts the directions in which descriptors differ by more than rounding.

    Args:
        eigenvalues: variances, falling.
        mean: of the descriptors, whose size is that of the rounding.
    """
    return int((eigenvalues > max(RELATIVE_THRESHOLD * eigenvalues[0], ROUNDING_THRESHOLD * (mean @ mean))).sum())


def leading_variances(
    scatter: np.ndarray, count: int, dim: int, mean: np.ndarray, degrees: int | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the `dim` largest eigenvalues of scatter / degrees, their vectors and the share that they hold.

    Args:
        scatter: of `count` samples, or their Gram matrix: both have the same eigenvalues. It is overwritten.
        count: number of samples.
        dim: wanted, at most the size of `scatter`.
        mean: of the samples; 0 where the scatter is about the origin.
        degrees: of freedom; by default those of samples about their mean, `count` - 1.

    Raises:
        DimensionError: the samples differ in fewer directions than `dim`.
    """
    total = np.trace(scatter)
    eigenvalues, vectors = leading(scatter, dim)
    share = eigenvalues.sum() / total if total else 0.0
    eigenvalues = eigenvalues / (count - 1 if degrees is None else degrees)
    if (rank := rank_of(eigenvalues, mean)) < dim:
        raise DimensionError(
            f"`dim` must be at most {rank}, the number of directions in which the {count} samples differ; "
            f"lower it or fit on more images. Received: dim={dim}",
            rank,
        )
    return eigenvalues, vectors, float(share)


def with_fixed_signs(projection: np.ndarray) -> np.ndarray:
    """Makes the element of largest magnitude of every column positive, in place.

    An eigenvector's sign is arbitrary: fixed, every machine gives the same descriptor.
    """
    projection *= np.where(projection.max(axis=0) >= -projection.min(axis=0), 1, -1).astype(projection.dtype)
    return projection
