"""What every fit gives: a mean and a projection."""

import dataclasses

import numpy as np

from keras_sare.utils.arguments import plain_arguments
from keras_sare.whitening.spectrum import blocks


@plain_arguments
@dataclasses.dataclass(frozen=True, eq=False)
class FittedWhitening:
    """A fitted whitening y = P^T (x - m), then L2.

    Attributes:
        mean: m, float64 `[D]`.
        projection: P, float32 `[D, d]`, directions by falling eigenvalue. The element of largest magnitude of each
            direction is positive.
        eigenvalues: float64 `[d]`, falling. PCA: variances of the descriptors along the d directions. Learned
            whitening: how many times the descriptors vary more than matching pairs do.
    """

    mean: np.ndarray
    projection: np.ndarray
    eigenvalues: np.ndarray

    @property
    def bias(self) -> np.ndarray:
        """The `b` of y = x P + b, float64 `[d]`: -m P."""
        return -self.mean @ self.projection

    @plain_arguments
    def truncated(self, dim: int) -> "FittedWhitening":
        """Keeps the first `dim` directions: the same as a fit at that dimension.

        Raises:
            ValueError: `dim` is not between 1 and the fitted dimension.
        """
        fitted = len(self.eigenvalues)
        if not 1 <= dim <= fitted:
            raise ValueError(f"`dim` must be between 1 and the fitted dimension, {fitted}. Received: dim={dim}")
        return FittedWhitening(self.mean, self.projection[:, :dim].copy(), self.eigenvalues[:dim].copy())

    @plain_arguments
    def apply(self, descriptors: np.ndarray, block_rows: int = 1024) -> np.ndarray:
        """Whitens and L2-normalises descriptors: the reference for the layer that does it inside a model.

        Args:
            descriptors: `[n, D]` numbers, array or memory map.
            block_rows: rows centred at a time, which bounds the memory beside the result.

        Returns:
            Unit vectors, float32 `[n, d]`.

        Raises:
            ValueError: `descriptors` has another width than the fitted ones.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != len(self.mean):
            raise ValueError(
                f"`descriptors` must be [n, {len(self.mean)}] like those of the fit. "
                f"Received: descriptors.shape={descriptors.shape}"
            )
        whitened = np.empty((len(descriptors), len(self.eigenvalues)), np.float32)
        mean = self.mean.astype(np.float32)
        for rows in blocks(len(descriptors), block_rows):
            # Centring first keeps digits that x P + b would lose.
            projected = (descriptors[rows] - mean).astype(np.float32) @ self.projection
            whitened[rows] = unit_rows(projected)
        return whitened


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows [n, d] of length 1, as the layer that whitens makes them."""
    return np.asarray(rows / np.sqrt(1e-12 + np.square(rows).sum(axis=1, keepdims=True)))
