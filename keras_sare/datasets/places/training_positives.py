"""The positives that a query may be trained with, and why there may be none."""

import numpy as np
from scipy.spatial import cKDTree

from keras_sare.datasets.places.headings import heading_difference
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.spatial import Neighbours
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
def training_positives(
    dataset: PlaceDataset,
    ids: np.ndarray,
    radius: float,
    min_positive: float | None = None,
    heading: float | None = None,
) -> Neighbours:
    """Finds for each of some images the database images that a tuple may take as its positive.

    They are the dataset's positives less the nearest ones, and never the image's own photo, by file or by bytes. Two
    photos taken side by side that look in opposite directions show nothing in common: `heading` leaves such pairs out.

    Args:
        dataset: whose rules hold, see `PlaceDataset`.
        ids: int64 [Q], queries of tuples: indices into `dataset.paths`, of database images too.
        radius: metres, inclusive.
        min_positive: metres, exclusive; 0 turns it off. None takes `dataset.min_positive`.
        heading: degrees by which the two headings may differ, inclusive. A pair of which one heading is not known is
            kept. None asks for no heading.

    Returns:
        `Neighbours` with a row for each of `ids`.

    Raises:
        ValueError: none of the images has a positive; the message says why.
    """
    least = dataset.min_positive if min_positive is None else min_positive
    positives = dataset.positives(radius, least, ids)
    positives = positives.where(~_own_photo(dataset, positives, ids))
    positives = positives.where(~_looks_elsewhere(dataset, positives, ids, heading))
    if not len(positives.indices):
        raise ValueError(
            f"`dataset` must give at least one of {len(ids)} queries a positive to train on; {dataset.name!r} does "
            f"not: {_why(dataset, ids, radius, least, heading)}"
        )
    return positives


def _own_photo(dataset: PlaceDataset, near: Neighbours, ids: np.ndarray) -> np.ndarray:
    return np.asarray(dataset.photos[ids][near.queries] == dataset.photos[near.indices])


def _looks_elsewhere(dataset: PlaceDataset, near: Neighbours, ids: np.ndarray, degrees: float | None) -> np.ndarray:
    queries = dataset.images_of(ids).headings
    database = dataset.database.headings
    if degrees is None or queries is None or database is None:
        return np.zeros(len(near.indices), bool)
    return heading_difference(queries[near.queries], database[near.indices]) > degrees


def _why(dataset: PlaceDataset, ids: np.ndarray, radius: float, least: float, heading: float | None) -> str:
    near = dataset.nearby(radius, ids=ids)
    if not len(near.indices):
        return _nearest(dataset, ids, radius)
    where = "of the place of one" if dataset.database.positions is None else f"within {radius:g} m of one"
    farther = len(dataset.nearby(radius, least, ids).indices)
    reasons = {
        "are the query's own photo": _own_photo(dataset, near, ids).sum(),
        "have the query's own timestamp": dataset.same_timestamp(near, ids).sum() if dataset.other_timestamps else 0,
        f"look more than {heading} degrees elsewhere": _looks_elsewhere(dataset, near, ids, heading).sum(),
        f"are not farther than `min_positive`, {least:g} m; 0 turns that off": len(near.indices) - farther,
    }
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    return f"of {len(near.indices)} database images {where}, {counted}"


def _nearest(dataset: PlaceDataset, ids: np.ndarray, radius: float) -> str:
    positions = dataset.database.positions
    queries = dataset.images_of(ids)
    if positions is None or queries.positions is None:
        return "no database image has the place of one; check the column `place`"
    nearest = cKDTree(positions).query(queries.positions)[0].min()
    return (
        f"the nearest database image is {nearest:.4g} m away, and the radius is {radius:g} m. Check that positions are "
        "metres (or lat and lon), easting and northing in their own columns, or widen `positive_radius`"
    )
