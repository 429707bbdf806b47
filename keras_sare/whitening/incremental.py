"""PCA whitening fitted on descriptors that come in batches, in bounded memory."""

import logging

import numpy as np

from keras_sare.utils.arguments import plain_arguments
from keras_sare.whitening.fitted import FittedWhitening
from keras_sare.whitening.pca import largest_dimension
from keras_sare.whitening.scatter import FullScatter, Scatter, SketchedScatter
from keras_sare.whitening.spectrum import blocks, with_fixed_signs

logger = logging.getLogger(__name__)

# Numbers of a batch converted to double at a time: 128 MiB.
_CHUNK = 2**24


@plain_arguments
class IncrementalPCAWhitening:
    """Fits the whitening of `fit_pca_whitening` on a stream of descriptors, all of which count.

    Mean and scatter are updated batch by batch (Chan, Golub and LeVeque, 1979), in double precision and centred on the
    running mean, so that neither far-off means nor sorted input cost digits. As many rows as fit the memory limit are
    held (11 266 of width 32 768 by default), at most D. When they are full, the D x D matrix takes their place where it
    fits (D up to 15 811 by default). Up to there the result is exact. Otherwise their principal directions replace them
    again and again, and `missed_variance` bounds the error.

        whitening = IncrementalPCAWhitening(dim=4096)
        for batch in batches:
            whitening.update(batch)
        fitted = whitening.finish()

    Large batches are better than small ones: every 128 MiB of numbers, and every batch, costs one more row.

    Args:
        dim: dimension d after whitening.
        memory_limit: bytes for all that is kept and computed, beside the batches, 128 MiB and the result (4 D d bytes).

    Attributes:
        count: descriptors taken in.
        missed_variance: no direction's variance is underestimated by more than this, none is overestimated; 0 while
            the fit is exact.

    Raises:
        ValueError: `dim` is below 1 or `memory_limit` is not positive.
    """

    def __init__(self, dim: int, memory_limit: float = 6e9) -> None:
        if dim < 1 or not memory_limit > 0:
            raise ValueError(
                "`dim` must be at least 1 and `memory_limit` a positive number of bytes. "
                f"Received: dim={dim}, memory_limit={memory_limit}"
            )
        self.dim = dim
        self.memory_limit = memory_limit
        self.count = 0
        self.missed_variance = 0.0
        self._mean = np.empty(0)
        self._scatter: Scatter | None = None
        self._finished = False

    @plain_arguments
    def update(self, batch: np.ndarray) -> None:
        """Takes in some descriptors.

        Args:
            batch: `[n, D]` finite numbers, n of at least 1; D is that of the first batch.

        Raises:
            ValueError: `batch` has another shape or holds a number that is not finite (nothing of it is taken in); or
                for the first batch: `dim` is more than D, or `memory_limit` is too small for `dim` directions of D.
            RuntimeError: after `finish`.
        """
        self._check_open()
        self._check_batch(batch)
        scatter = self._scatter or self._start(batch.shape[1])
        for rows in _chunks(batch):
            scatter = self._add(scatter, batch[rows].astype(np.float64))
        self._scatter = scatter
        self.missed_variance = scatter.missed / max(1, self.count - 1)

    @plain_arguments
    def finish(self, dim: int | None = None) -> FittedWhitening:
        """Fits the transform and gives the memory back.

        Args:
            dim: dimension after whitening, where fewer are wanted than was said at first.

        Returns:
            The fitted transform. Equal batches give equal results.

        Raises:
            ValueError: `dim` is more than at first, or more than the descriptors give, with the largest possible one;
                then this can be called again, or updated. Only where all that is left is the D x D matrix, the stream
                has to be read again, and the message says so.
            RuntimeError: called again after it succeeded.
        """
        self._check_open()
        dim = self.dim if dim is None else dim
        largest = min(self.dim, largest_dimension(self.count, len(self._mean), max_samples=self.count))
        if self._scatter is None or not 1 <= dim <= largest:
            raise ValueError(
                f"`dim` must be at most {largest} and at least 1, because n samples span at most n - 1 directions, and "
                f"{self.dim} were asked for at first; lower it or update with more images. "
                f"Received: dim={dim} after {self.count} samples of width {len(self._mean)}"
            )
        try:
            projection, eigenvalues, share = self._scatter.whiten(self.count, dim, self._mean)
        except ValueError as error:
            if isinstance(self._scatter, SketchedScatter):
                raise
            self._scatter = None
            self._finished = True
            raise ValueError(f"{error}. The fit is used up: read the descriptors again with a new one.") from error
        self._scatter = None
        self._finished = True
        logger.info("PCA whitening: %d directions hold %.1f %% of the variance", dim, 100 * share)
        if self.missed_variance:
            logger.warning(
                "PCA whitening: %d samples did not fit `memory_limit`, so this fit is approximate: any direction's "
                "variance may be too small by up to %.3g; the variances found are %.3g to %.3g",
                self.count,
                self.missed_variance,
                eigenvalues[0],
                eigenvalues[-1],
            )
        return FittedWhitening(self._mean, with_fixed_signs(projection), eigenvalues)

    def _start(self, features: int) -> SketchedScatter:
        capacity = min(features, SketchedScatter.capacity_within(self.memory_limit, features))
        if not self._matrix_fits(features) and capacity < (least := max(2, 2 * self.dim)):
            needed = min(SketchedScatter.needed_bytes(features, least), FullScatter.needed_bytes(features))
            raise ValueError(
                f"`memory_limit` must be at least {needed} bytes for {self.dim} directions of width {features}; raise "
                f"it or lower `dim`. Received: memory_limit={self.memory_limit}"
            )
        self._mean = np.zeros(features)
        return SketchedScatter(features, capacity)

    def _matrix_fits(self, features: int) -> bool:
        return FullScatter.needed_bytes(features) <= self.memory_limit

    def _add(self, scatter: Scatter, chunk: np.ndarray) -> Scatter:
        """Two sets scatter about their common mean as about their own, plus one row along the shift between them."""
        mean = chunk.mean(axis=0)
        added = len(chunk)
        shift = mean - self._mean
        total = self.count + added
        if self.count:
            scatter = self._add_rows(scatter, shift[None] * np.sqrt(self.count * added / total))
        if added > 1:
            chunk -= mean
            scatter = self._add_rows(scatter, chunk)
        self._mean = self._mean + shift * (added / total)
        self.count = total
        return scatter

    def _add_rows(self, scatter: Scatter, rows: np.ndarray) -> Scatter:
        if isinstance(scatter, SketchedScatter) and len(rows) > scatter.room and self._matrix_fits(rows.shape[1]):
            scatter = scatter.as_matrix()
        scatter.add(rows)
        return scatter

    def _check_batch(self, batch: np.ndarray) -> None:
        expected = f"D, D of at least `dim`, {self.dim}" if self._scatter is None else f"{len(self._mean)}"
        if batch.ndim != 2 or not len(batch) or not self._fits(batch.shape[1]):
            raise ValueError(
                f"`batch` must be [n, {expected}], with n of at least 1. Received: batch.shape={batch.shape}"
            )
        broken = sum(int((~np.isfinite(batch[rows]).all(axis=1)).sum()) for rows in _chunks(batch))
        if broken:
            raise ValueError(
                "`batch` must hold finite numbers only; look for NaN in the model that made them. "
                f"Received: {broken} of {len(batch)} rows with others"
            )

    def _fits(self, features: int) -> bool:
        return features >= self.dim if self._scatter is None else features == len(self._mean)

    def _check_open(self) -> None:
        if self._finished:
            raise RuntimeError("This whitening is finished: fit on further descriptors with a new one.")


def _chunks(batch: np.ndarray) -> list[slice]:
    return blocks(len(batch), max(1, _CHUNK // batch.shape[1]))
