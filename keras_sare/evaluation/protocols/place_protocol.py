"""What a protocol of place recognition is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_sare.datasets import PlaceDataset


@dataclass(frozen=True)
class PlaceProtocol:
    """Recall@N with some database images excluded, which depend on the query.

    Attributes:
        name: what it adds to the name of the plain protocol in tables, "excluding the query's traversal".
        stem: name of its files without suffix; runs are read by it, so it never changes.
        exclude: gives for each query of a dataset the database indices that must not be retrieved, `Q` arrays of int64.
            They are no positives either. An empty list where the dataset does not know them.
    """

    name: str
    stem: str
    exclude: Callable[[PlaceDataset], Sequence[np.ndarray]]
