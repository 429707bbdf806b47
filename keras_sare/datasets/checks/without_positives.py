"""Queries that have no positive, and why."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from keras_sare.datasets.checks.finding import ERROR, WARNING, Finding
from keras_sare.datasets.images.same_photos import first_names
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.spatial import earth_centred
from keras_sare.datasets.places.transverse_mercator import in_next_zone

_WIDER = 10
"""A query whose nearest database image is within so many radii has too small a radius, farther ones none at all."""
_METRES = 1000.0
"""Planar coordinates above this are no degrees."""
_STEP = 0.01
_EXTENT = 5.0
_FEW = 4

_Reason = tuple[str, str, str]


def without_positives(dataset: PlaceDataset, radius: float, training: bool = False) -> list[Finding]:
    """Says which queries have no positive, one finding for each reason.

    Args:
        dataset: no image of it is read.
        radius: metres within which a database image is a positive.
        training: whether positives are those of training, which are farther than `dataset.min_positive`.
    """
    queries = len(dataset.queries)
    least = dataset.min_positive if training and dataset.min_positive < radius else 0.0
    unanswerable = np.flatnonzero(dataset.positives(radius, least).counts == 0)
    level = ERROR if len(unanswerable) == queries else WARNING
    effect = "are not trained on" if training else "count as misses"
    findings = _degrees(dataset, radius)
    for (kind, reason, advice), which in _reasons(dataset, radius, unanswerable):
        names = first_names(dataset.queries.paths[which])
        where = dataset.criterion(radius)
        message = f"{len(which)} of {queries} queries have no positive {where} and {effect}: {reason} ({names})"
        findings.append(Finding(kind, level, dataset.name, message, advice))
    return findings


def _degrees(dataset: PlaceDataset, radius: float) -> list[Finding]:
    """Degrees that stand where metres should: everything is near everything."""
    positions = dataset.database.positions
    if positions is None or positions.shape[1] != 2 or len(positions) < _FEW or not _within_degrees(positions):
        return []
    if np.ptp(positions, axis=0).max() > min(_EXTENT, radius):
        return []
    step = np.median(cKDTree(positions).query(np.unique(positions, axis=0), k=2)[0][:, 1])
    fractions = np.any(positions != np.round(positions), axis=0).all()
    if not fractions or step > _STEP:
        return []
    message = f"easting and northing look like degrees, as {positions[0].tolist()} does: taken for metres"
    return [Finding("degrees", ERROR, dataset.name, message, "Name the columns lat and lon")]


def _within_degrees(positions: np.ndarray) -> bool:
    largest, other = np.sort(np.abs(positions).max(axis=0))[::-1]
    return bool(largest <= 180 and other <= 90)


def _reasons(dataset: PlaceDataset, radius: float, unanswerable: np.ndarray) -> Iterator[tuple[_Reason, np.ndarray]]:
    """Each reason with the queries that it explains; a query is explained once."""
    left = unanswerable
    for reason, explained in _explanations(dataset, radius, unanswerable):
        which = left[np.isin(left, unanswerable[explained])]
        left = np.setdiff1d(left, which)
        if len(which):
            yield reason, which


def _explanations(
    dataset: PlaceDataset, radius: float, unanswerable: np.ndarray
) -> Iterator[tuple[_Reason, np.ndarray]]:
    if not len(unanswerable):
        return
    near = dataset.nearby(radius, ids=unanswerable + len(dataset.database)).counts > 0
    yield _own_panorama(dataset), near
    queries = dataset.queries.positions
    database = dataset.database.positions
    if queries is None or database is None:
        advice = "Check the column `place`: both sides must name a place alike"
        yield ("other_place", "no database image names their place", advice), np.ones(len(unanswerable), bool)
        return
    tree = cKDTree(database)
    for reason, changed in _changed(dataset, queries[unanswerable], database):
        yield reason, tree.query(changed)[0] <= radius
    yield from _distances(tree.query(queries[unanswerable])[0], radius)


def _own_panorama(dataset: PlaceDataset) -> _Reason:
    if dataset.other_timestamps:
        advice = "Add images of other days, or let the timestamp be the same (--noother_timestamps)"
        return "same_timestamp", "those near are of the query's own timestamp", advice
    least = f"{dataset.min_positive:g} m"
    reason = f"those near are of the query's own panorama, not farther than min_positive ({least})"
    return "same_panorama", reason, "Set --min_positive=0, or add images of other days"


def _changed(dataset: PlaceDataset, queries: np.ndarray, database: np.ndarray) -> Iterator[tuple[_Reason, np.ndarray]]:
    """Positions as they would be without a usual mistake."""
    if queries.shape[1] == 3:
        yield from _exchanged(dataset, queries)
        return
    if _within_degrees(queries) and np.abs(database).max() > _METRES:
        reason = ("degrees", "their positions look like degrees, the database's like metres", "Write both in one unit")
        yield reason, np.broadcast_to(database[:1], queries.shape)
    swapped = ("swapped", "with easting and northing swapped they have one", "Exchange the two columns of one side")
    yield swapped, queries[:, ::-1]
    reason = ("utm_zone", "they are in another UTM zone than the database", "Write all in one zone, or lat and lon")
    for zones in (-1, 1):
        for south in (False, True):
            if np.abs(database).max() > _METRES:
                yield reason, in_next_zone(queries, zones, south)


def _exchanged(dataset: PlaceDataset, queries: np.ndarray) -> Iterator[tuple[_Reason, np.ndarray]]:
    latitude = np.degrees(np.arctan2(queries[:, 2], np.hypot(queries[:, 0], queries[:, 1]) * (1 - 0.00669437999014)))
    longitude = np.degrees(np.arctan2(queries[:, 1], queries[:, 0]))
    if np.abs(longitude).max() <= 90:
        reason = (
            "exchanged",
            "with latitude and longitude exchanged they have one",
            "Exchange the two columns of one side",
        )
        yield reason, earth_centred(longitude, latitude)


def _distances(nearest: np.ndarray, radius: float) -> Iterator[tuple[_Reason, np.ndarray]]:
    wider = nearest <= _WIDER * radius
    if wider.any():
        reach = np.percentile(nearest[wider], 90)
        advice = (
            f"Add database images there, or take a larger radius ({np.ceil(reach):g} m reaches nine of ten of them)"
        )
        yield ("radius", f"the nearest database images are {nearest[wider].min():.4g} m away or more", advice), wider
    if (~wider).any():
        advice = "Add database images there, or leave these queries out; check that the positions are right"
        yield ("far", f"the nearest database images are {nearest[~wider].min():,.0f} m away or more", advice), ~wider
