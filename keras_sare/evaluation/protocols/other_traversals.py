"""Recall across traversals: a place recognised on another day, not a minute later on the same drive."""

from collections.abc import Sequence

import numpy as np

from keras_sare.datasets import PlaceDataset, same_group
from keras_sare.evaluation.protocols.place_protocol import PlaceProtocol


def _own_traversal(dataset: PlaceDataset) -> Sequence[np.ndarray]:
    queries = dataset.queries.traversals
    database = dataset.database.traversals
    return [] if queries is None or database is None else same_group(queries, database)


OTHER_TRAVERSALS = PlaceProtocol(
    name="excluding the query's traversal", stem="recall_other_passes", exclude=_own_traversal
)
