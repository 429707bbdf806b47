"""Whether the queries of a dataset have positives at all: checked before anything is computed for them."""

import numpy as np
from scipy.spatial import cKDTree

from keras_sare.datasets.places.place_dataset import PlaceDataset


def check_positives(dataset: PlaceDataset, radius: float) -> int:
    """Checks that some queries have positives.

    Args:
        dataset: no image of it is read.
        radius: metres within which a database image is right.

    Returns:
        Number of queries without a positive: they count as misses.

    Raises:
        ValueError: no query has one; the message says how far away the nearest ones are, and whether exchanged columns
            are the reason.
    """
    queries = len(dataset.queries)
    empty = int((dataset.positives(radius).counts == 0).sum())
    if empty == queries:
        raise ValueError(
            f"{dataset.name!r} must have a query with a database image {dataset.criterion(radius)}, and none of its "
            f"{queries} has. {_reason(dataset, radius)}"
        )
    return empty


def _reason(dataset: PlaceDataset, radius: float) -> str:
    queries = dataset.queries.positions
    database = dataset.database.positions
    if queries is None or database is None:
        return "Check the column with the places: both sides must name them alike."
    nearest = _nearest(queries, database)
    if nearest > radius and queries.shape[1] == 2 and _nearest(queries[:, ::-1], database) <= radius:
        return "Easting and northing of one side are exchanged: exchange them."
    return (
        f"The nearest two are {nearest:.6g} m apart: check the positions (their unit, zone, and that easting and "
        "northing are not exchanged), or enlarge the radius."
    )


def _nearest(queries: np.ndarray, database: np.ndarray) -> float:
    """Metres between the query and the database image that are nearest to each other."""
    return float(cKDTree(database).query(queries)[0].min())
