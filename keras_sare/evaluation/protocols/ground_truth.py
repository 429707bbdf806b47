"""A protocol on a dataset: which database images are right for each query, and which must not be found."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_sare.datasets import Neighbours, PlaceDataset, heading_difference, neighbours_within, same_group
from keras_sare.evaluation.protocols import image_names
from keras_sare.evaluation.protocols.protocol import Protocol


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What a protocol makes of a dataset.

    Attributes:
        protocol: its name and rules, for reports: "msls: recall@N within 25 m and 40 degrees of heading".
        positives: of each query, excluded ones too.
        exclude: for each query the database images that are neither found nor right; None where nothing is excluded.
        groups: int64 [N], of the database images of one number only the best is counted, such as of the cut-outs of a
            panorama; None where all are.
        conditions: queries that are reported apart too, int64 [any number] by name.
    """

    protocol: str
    positives: Neighbours
    exclude: Sequence[np.ndarray] | None = None
    groups: np.ndarray | None = None
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)


def ground_truth(protocol: Protocol, dataset: PlaceDataset) -> GroundTruth:
    """Applies a protocol to a dataset.

    Args:
        protocol: one of `keras_sare.evaluation.protocols.NAMED`, or rules of one's own. The protocol "own" takes the
            place's name where the dataset has no positions, as training does.
        dataset: of the queries and the database.

    Raises:
        ValueError: the dataset lacks a column that the protocol asks for; it is named.
    """
    check_columns(protocol, dataset)
    return GroundTruth(
        protocol=title(protocol, dataset),
        positives=_positives(protocol, dataset),
        exclude=_excluded(protocol, dataset),
        groups=_groups(protocol, dataset),
        conditions=_conditions(dataset) if protocol.conditions else {},
    )


def counted(protocol: Protocol, dataset: PlaceDataset) -> PlaceDataset:
    """The dataset with the queries that the protocol counts: all of them, or those that have a positive.

    Raises:
        ValueError: as `ground_truth`, or no query is left.
    """
    if not protocol.skips_without_positive:
        return dataset
    able = np.flatnonzero(ground_truth(protocol, dataset).positives.counts)
    return dataclasses.replace(dataset, queries=dataset.queries.subset(able))


def title(protocol: Protocol, dataset: PlaceDataset) -> str:
    """What an evaluation measures, for reports.

    One's own rules are named by the rules alone, as in reports of training runs and of earlier versions.
    """
    right = dataset.criterion(protocol.radius or 0.0) if _by_place(protocol, dataset) else protocol.right
    if dataset.other_timestamps and "timestamp" not in right and "timestamp" not in protocol.exclude:
        right += ", of another timestamp"
    rules = ", ".join(text for text in (f"recall@N {right}", protocol.counting) if text)
    return rules if protocol.name == "own" else f"{protocol.name}: {rules}"


def check_columns(protocol: Protocol, dataset: PlaceDataset) -> None:
    """Checks that a dataset has what a protocol asks for.

    Raises:
        ValueError: it lacks a column, or a number in one.
    """
    missing = []
    for column in protocol.columns:
        if (column.startswith("easting") and _by_place(protocol, dataset)) or _has(dataset, column):
            continue
        missing.append(column)
    if protocol.best_of == "panorama" and image_names.panoramas(dataset.database.paths) is None:
        missing.append("names of cut-outs (..._012_030.png, or the panorama in @-coded names)")
    if missing:
        raise ValueError(
            f"Protocol {protocol.name!r} ({protocol.description}) needs for every image of {dataset.name!r}: "
            f"{'; '.join(missing)}. Add that to places.csv, or take a protocol without it. Received: --protocol="
            f"{protocol.name}"
        )


def _has(dataset: PlaceDataset, column: str) -> bool:
    """Whether both sides have a column, and all of its numbers."""
    sides = (dataset.database, dataset.queries)
    if column == "frame":
        return all(_frames(side.frames, side.paths) is not None for side in sides)
    fields = {"heading": "headings", "place": "places", "timestamp": "timestamps", "traversal": "traversals"}
    values = [getattr(side, fields.get(column, "positions")) for side in sides]
    return all(one is not None and not (one.dtype.kind == "f" and np.isnan(one).any()) for one in values)


def _frames(given: np.ndarray | None, paths: np.ndarray) -> np.ndarray | None:
    numbers = image_names.frames(paths) if given is None else given
    return None if numbers is None or np.isnan(numbers).any() else numbers


def _by_place(protocol: Protocol, dataset: PlaceDataset) -> bool:
    return protocol.name == "own" and protocol.radius is not None and dataset.database.positions is None


def _positives(protocol: Protocol, dataset: PlaceDataset) -> Neighbours:
    rules: list[Neighbours] = []
    if protocol.radius is not None:
        rules.append(dataset.positives(protocol.radius))
    if protocol.frames is not None:
        rules.append(_near_frames(dataset, protocol.frames))
    if protocol.places:
        rules.append(Neighbours.of(same_group(_known(dataset.queries.places), _known(dataset.database.places))))
    near, *others = rules
    for other in others:
        near = near.where(_also_in(other, near, len(dataset.database)))
    return near if protocol.heading is None else near.where(_looking_alike(dataset, near, protocol.heading))


def _near_frames(dataset: PlaceDataset, tolerance: int) -> Neighbours:
    queries, database = (_known(_frames(side.frames, side.paths)) for side in (dataset.queries, dataset.database))
    # Half a frame more: frames are whole numbers, and a tolerance of 0 is the same frame.
    return neighbours_within(queries[:, None], database[:, None], tolerance + 0.5)


def _also_in(other: Neighbours, near: Neighbours, size: int) -> np.ndarray:
    return np.isin(near.queries * size + near.indices, other.queries * size + other.indices)


def _looking_alike(dataset: PlaceDataset, near: Neighbours, degrees: float) -> np.ndarray:
    queries = _known(dataset.queries.headings)[near.queries]
    database = _known(dataset.database.headings)[near.indices]
    return heading_difference(queries, database) <= degrees


def _excluded(protocol: Protocol, dataset: PlaceDataset) -> Sequence[np.ndarray] | None:
    found: list[Sequence[np.ndarray]] = []
    if "timestamp" in protocol.exclude or dataset.other_timestamps:
        found.append(same_group(_known(dataset.queries.timestamps), _known(dataset.database.timestamps)))
    if "photo" in protocol.exclude:
        found.append(dataset.own_photos())
    if "traversal" in protocol.exclude:
        found.append(same_group(_known(dataset.queries.traversals), _known(dataset.database.traversals)))
    if len(found) < 2:
        return found[0] if found else None
    return [np.unique(np.concatenate(rows)) for rows in zip(*found, strict=True)]


def _groups(protocol: Protocol, dataset: PlaceDataset) -> np.ndarray | None:
    if protocol.best_of == "position":
        return np.unique(_known(dataset.database.positions), axis=0, return_inverse=True)[1].astype(np.int64)
    return image_names.panoramas(dataset.database.paths) if protocol.best_of else None


def _conditions(dataset: PlaceDataset) -> dict[str, np.ndarray]:
    """The queries of each condition that the dataset names or, in Tokyo 24/7, the number of the file."""
    named = dataset.queries.conditions
    named = image_names.tokyo_conditions(dataset.queries.paths) if named is None else named
    if named is None:
        return {}
    order = dict.fromkeys(str(name) for name in named if name)
    return {name: np.flatnonzero(named == name) for name in order}


def _known(values: np.ndarray | None) -> np.ndarray:
    """What `check_columns` has found to exist."""
    return np.zeros(0) if values is None else values
