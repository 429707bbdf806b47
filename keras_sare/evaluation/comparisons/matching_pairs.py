"""Pairs of matching photos, and the whitening that is learned from them."""

import dataclasses

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from keras_sare.utils.arguments import plain_arguments
from keras_sare.whitening import FittedWhitening, fit_learned_whitening


@plain_arguments
@dataclasses.dataclass(frozen=True, eq=False)
class MatchingPairs:
    """Pairs of photos that show the same object, from which whitening is learned.

    Attributes:
        paths: [N] image files.
        queries: int64 [pairs], which of them are the first of a pair.
        positives: int64 [pairs], which are the second.
    """

    paths: np.ndarray
    queries: np.ndarray
    positives: np.ndarray

    @property
    def directions(self) -> int:
        """Directions that the pairs' differences span at most, whatever the descriptors.

        They are as many as the edges of a forest that joins what the pairs join: in a group of n photos all differences
        are sums of n - 1.
        """
        size = len(self.paths)
        joined = sparse.coo_matrix((np.ones(len(self.queries)), (self.queries, self.positives)), (size, size))
        return size - int(connected_components(joined, directed=False)[0])

    @plain_arguments
    def whitening(self, descriptors: np.ndarray, dimensions: int) -> FittedWhitening:
        """Learns Lw, within as many principal directions of the descriptors as the pairs can determine.

        Lw divides by how much matching photos differ. Along as many directions as the pairs' differences span there is
        always one in which these few differ hardly at all, and it would come first. So half as many are taken. The
        pairs of thousands of photos limit nothing.

        Args:
            descriptors: [N, D] of `paths`.
            dimensions: of the whitening, at most.

        Raises:
            ValueError: a descriptor is not finite, or those of all pairs are equal.
        """
        varying = np.count_nonzero(descriptors.max(axis=0) > descriptors.min(axis=0))
        principal = max(1, min(self.directions // 2, int(varying)))
        fitted = fit_learned_whitening(
            descriptors, self.queries, self.positives, principal=principal if principal < varying else None
        )
        return fitted.truncated(min(dimensions, len(fitted.eigenvalues)))
