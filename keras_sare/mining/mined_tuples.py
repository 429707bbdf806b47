"""What mining returns."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class MinedTuples:
    """The tuples of a window of queries.

    Attributes:
        images: int64 [queries, 1 + negatives] database indices: of the positive, then of the negatives, hardest first.
            Of batches of places [queries, images - 1]: the other images of the query's place.
        margins: float32 [queries], squared distance to the hardest negative minus squared distance to the positive. A
            tuple violates NetVLAD's margin, and gives its triplet loss a gradient, where this is below 0.1. NaN where
            no descriptors were looked at.
    """

    images: np.ndarray
    margins: np.ndarray
