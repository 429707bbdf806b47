"""What can be said of a data set's photos when they have been decoded."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from keras_sare.datasets.checks.finding import ERROR, NOTE, WARNING, Finding
from keras_sare.datasets.checks.lists import MOST_UNREADABLE, sides
from keras_sare.datasets.checks.near_duplicates import near_duplicates
from keras_sare.datasets.images.same_photos import first_names, photo_numbers
from keras_sare.datasets.places.place_dataset import PlaceDataset

_MANY_SIZES = 3


def check_photos(datasets: Mapping[str, PlaceDataset], records: np.ndarray) -> list[Finding]:
    """Tells which photos cannot be read, are nearly the same, or are turned.

    Args:
        datasets: by split.
        records: `photo_records` of the paths of all datasets, one after the other.
    """
    listed = {where: images.paths for dataset in datasets.values() for where, images in sides(dataset).items()}
    return check_files(listed, records)


def check_files(listed: Mapping[str, np.ndarray], records: np.ndarray) -> list[Finding]:
    """The same for lists of files, by what messages call them."""
    paths = np.concatenate(list(listed.values()))
    where = np.repeat(np.arange(len(listed)), [len(one) for one in listed.values()])
    findings = []
    for number, name in enumerate(listed):
        findings += _unreadable(name, paths[where == number], records[where == number])
        findings += _turned(name, paths[where == number], records[where == number])
    return findings + _near(list(listed), paths, where, records) + _sizes(records)


def _unreadable(where: str, paths: np.ndarray, records: np.ndarray) -> list[Finding]:
    wrong = np.flatnonzero((records["reason"] != "") & (records["reason"] != "missing"))
    if not len(wrong):
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(records["reason"][wrong].tolist()).items())
    level = ERROR if len(wrong) > MOST_UNREADABLE * len(paths) else WARNING
    message = f"{len(wrong)} of {len(paths)} files cannot be read: {reasons} ({first_names(paths[wrong])})"
    return [Finding("corrupt", level, where, message, "Download or copy them again, or take them off the list")]


def _turned(where: str, paths: np.ndarray, records: np.ndarray) -> list[Finding]:
    turned = paths[records["orientation"] > 1]
    if not len(turned):
        return []
    message = f"{len(turned)} of {len(paths)} photos are turned by their EXIF orientation ({first_names(turned)})"
    advice = "They are read upright; --orientation=stored reads them as they are stored"
    return [Finding("orientation", NOTE, where, message, advice)]


def _near(names: list[str], paths: np.ndarray, where: np.ndarray, records: np.ndarray) -> list[Finding]:
    """Near duplicates of each two lists, without those of the same bytes, which another check names."""
    seen = np.flatnonzero(records["height"] > 0)
    pairs = seen[near_duplicates(records["hash"][seen], records["thumbnail"][seen])]
    involved = np.unique(pairs)
    numbers = np.zeros(len(paths), np.int64)
    numbers[involved] = photo_numbers(paths[involved])
    pairs = pairs[numbers[pairs[:, 0]] != numbers[pairs[:, 1]]]
    findings = []
    for first, second in np.unique(where[pairs], axis=0).tolist():
        chosen = pairs[(where[pairs] == [first, second]).all(axis=1)]
        other = "each other" if first == second else f"photos of {names[first]}"
        example = f"{paths[chosen[0, 1]]} and {paths[chosen[0, 0]]}"
        message = f"{len(np.unique(chosen[:, 1]))} photos look nearly the same as {other} ({example})"
        advice = "Look at them: the same photo stored anew belongs on one list once; pictures of one walk may stay"
        kind = "near_duplicate"
        findings.append(Finding(kind, WARNING, names[second], message, advice))
    return findings


def _sizes(records: np.ndarray) -> list[Finding]:
    read = records[records["height"] > 0]
    sizes = Counter(zip(read["height"].tolist(), read["width"].tolist(), strict=True))
    if not sizes:
        return []
    common = ", ".join(f"{h} x {w} ({count})" for (h, w), count in sizes.most_common(_MANY_SIZES))
    message = f"{len(read)} photos have {len(sizes)} sizes, height x width: {common}"
    return [Finding("sizes", NOTE, "all photos", message + ", ..." * (len(sizes) > _MANY_SIZES))]
