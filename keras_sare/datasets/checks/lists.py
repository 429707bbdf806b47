"""What can be said of a data set without decoding an image."""

import os
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

from keras_sare.datasets.checks.finding import ERROR, WARNING, Finding
from keras_sare.datasets.checks.without_positives import without_positives
from keras_sare.datasets.images.same_photos import first_names, photo_numbers
from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset

MOST_UNREADABLE = 0.01
"""Share of a side's files that a training may leave out, unless it is told otherwise."""


def check_lists(datasets: Mapping[str, PlaceDataset], radius: float) -> list[Finding]:
    """Checks lists, positives, files that are there or not, and splits against each other.

    Args:
        datasets: by split; no image is decoded.
        radius: metres within which a database image is right.
    """
    findings = [one for dataset in datasets.values() for one in without_positives(dataset, radius)]
    findings += [one for dataset in datasets.values() for one in missing_files(dataset)]
    return findings + overlaps(datasets, radius)


def sides(dataset: PlaceDataset) -> dict[str, ImageSet]:
    """The two sides of a data set, by what messages call them."""
    return {f"{dataset.name}, database": dataset.database, f"{dataset.name}, queries": dataset.queries}


def missing_files(dataset: PlaceDataset) -> list[Finding]:
    """Files that are listed and not there."""
    findings = []
    for where, images in sides(dataset).items():
        gone = images.paths[[not os.path.isfile(path) for path in images.paths.tolist()]]
        if len(gone):
            level = ERROR if len(gone) > MOST_UNREADABLE * len(images) else WARNING
            message = f"{len(gone)} of {len(images)} files are missing ({first_names(gone)})"
            findings.append(
                Finding("missing", level, where, message, "Complete the download, or take them off the list")
            )
    return findings


def overlaps(datasets: Mapping[str, PlaceDataset], radius: float) -> list[Finding]:
    """Splits that show the same ground; a database that two splits share whole is meant so."""
    findings = []
    for first, second in combinations(datasets.values(), 2):
        if _shared_database(first, second):
            continue
        near = _near(first, second, radius)
        if near:
            message = f"{near} images are within {radius:g} m of images of {first.name}"
            advice = "Take them out of one split: what was trained on is no test"
            findings.append(Finding("overlap", WARNING, second.name, message, advice))
    return findings


def _shared_database(first: PlaceDataset, second: PlaceDataset) -> bool:
    return np.array_equal(first.database.paths, second.database.paths)


def _near(first: PlaceDataset, second: PlaceDataset, radius: float) -> int:
    ours, theirs = (one.database.followed_by(one.queries) for one in (first, second))
    if (
        ours.positions is not None
        and theirs.positions is not None
        and ours.positions.shape[1] == theirs.positions.shape[1]
    ):
        return int((cKDTree(ours.positions).query(theirs.positions)[0] <= radius).sum())
    if ours.places is not None and theirs.places is not None:
        return int(np.isin(theirs.places, ours.places).sum())
    return 0


def same_photos(datasets: Mapping[str, PlaceDataset]) -> list[Finding]:
    """Photos that are listed twice on a side, on both sides, or in two splits, by file or by bytes."""
    listed = list(datasets.values())
    numbers = photo_numbers(np.concatenate([one.paths for one in listed]))
    parts = np.split(numbers, np.cumsum([len(one.paths) for one in listed])[:-1])
    findings = []
    for dataset, own in zip(listed, parts, strict=True):
        database, queries = np.split(own, [len(dataset.database)])
        for (where, images), side in zip(sides(dataset).items(), (database, queries), strict=True):
            again = np.delete(np.arange(len(side)), np.unique(side, return_index=True)[1])
            findings += _repeated("duplicate", where, "repeat another of the side", images.paths[again])
        both = np.isin(queries, database)
        findings += _repeated(
            "query_in_database", dataset.name, "are queries and in the database too", dataset.queries.paths[both]
        )
    for (first, ours), (second, theirs) in combinations(zip(listed, parts, strict=True), 2):
        if not _shared_database(first, second):
            shared = second.paths[np.isin(theirs, ours)]
            findings += _repeated("split_duplicate", second.name, f"are in {first.name} too", shared)
    return findings


def _repeated(kind: str, where: str, what: str, paths: np.ndarray) -> list[Finding]:
    if not len(paths):
        return []
    message = f"{len(paths)} photos {what}, the same file or the same bytes ({first_names(paths)})"
    return [Finding(kind, WARNING, where, message, "Take one of each off the list")]
