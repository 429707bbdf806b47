"""What can be said of a data set without decoding an image."""

import os
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

from keras_sare.datasets.checks.finding import ERROR, WARNING, Finding
from keras_sare.datasets.checks.without_positives import without_positives
from keras_sare.datasets.images.same_photos import first_names, named_pairs, photo_numbers, repeated_photos
from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset

MOST_UNREADABLE = 0.01
"""Share of a side's files that a training may leave out, unless it is told otherwise."""


TRAINING = "train"
"""The split whose positives are those of training: within another radius, and not of the query's own panorama."""


def check_lists(
    datasets: Mapping[str, PlaceDataset],
    radius: float,
    positive_radius: float | None,
    most_unreadable: float = MOST_UNREADABLE,
) -> list[Finding]:
    """Checks lists, positives, files that are there or not, and splits against each other; no image is decoded.

    Args:
        datasets: by split.
        radius: metres within which a database image is right in an evaluation.
        positive_radius: metres within which it may be a positive in training; None does not ask which queries of the
            training split have one.
        most_unreadable: share of a side's files that may be missing.
    """
    findings = [one for dataset in datasets.values() for one in missing_files(dataset, most_unreadable)]
    for split, dataset in datasets.items():
        within = positive_radius if split == TRAINING else radius
        findings += [] if within is None else without_positives(dataset, within, split == TRAINING)
    return findings + overlaps(datasets, radius) + same_photos(datasets)


def sides(dataset: PlaceDataset) -> dict[str, ImageSet]:
    """The two sides of a data set, by what messages call them."""
    return {f"{dataset.name}, database": dataset.database, f"{dataset.name}, queries": dataset.queries}


def missing_files(dataset: PlaceDataset, most: float = MOST_UNREADABLE) -> list[Finding]:
    """Files that are listed and not there; an error where they are more than the share `most` of a side."""
    findings = []
    for where, images in sides(dataset).items():
        gone = images.paths[[not os.path.isfile(path) for path in images.paths.tolist()]]
        if len(gone):
            level = ERROR if len(gone) > most * len(images) else WARNING
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
        distances, _ = cKDTree(ours.positions).query(
            theirs.positions, distance_upper_bound=np.nextafter(radius, np.inf)
        )
        return int(np.isfinite(distances).sum())
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
        findings += repeated_photos(dataset.name, dataset.database.paths, dataset.queries.paths, own)
    for (first, ours), (second, theirs) in combinations(zip(listed, parts, strict=True), 2):
        shared = np.flatnonzero(np.isin(theirs, ours))
        if len(shared) and not _shared_database(first, second):
            pairs = named_pairs(second.paths[shared], theirs[shared], first.paths, ours)
            message = f"{len(shared)} images are in {first.name} too, the same file or the same bytes ({pairs})"
            advice = "Take them out of one split: what was trained on is no test"
            findings.append(Finding("split_duplicate", WARNING, second.name, message, advice))
    return findings
