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


def check_files(listed: Mapping[str, np.ndarray], reasons: Mapping[int, str], looks: np.ndarray) -> list[Finding]:
    """Tells which photos cannot be read, are nearly the same, or are turned.

    Args:
        listed: files, by what messages call them; see `listed_files`.
        reasons: `unreadable_files` of all lists, one after the other. What is missing is left to other checks.
        looks: `photo_looks` of them.
    """
    paths = np.concatenate(list(listed.values()))
    where = np.repeat(np.arange(len(listed)), [len(one) for one in listed.values()])
    wrong = np.array([index for index, reason in reasons.items() if reason != "missing"], np.int64)
    findings = []
    for number, (name, files) in enumerate(listed.items()):
        of_list = wrong[where[wrong] == number]
        findings += _unreadable(name, paths[of_list], [reasons[index] for index in of_list.tolist()], len(files))
        findings += _turned(name, files, looks[where == number])
    return findings + _near(list(listed), paths, where, looks) + _sizes(looks)


def listed_files(datasets: Mapping[str, PlaceDataset]) -> dict[str, np.ndarray]:
    """The files of each side of each split, by what messages call them."""
    return {where: images.paths for dataset in datasets.values() for where, images in sides(dataset).items()}


def _unreadable(where: str, wrong: np.ndarray, reasons: list[str], count: int) -> list[Finding]:
    if not len(wrong):
        return []
    counted = ", ".join(f"{times} {reason}" for reason, times in Counter(reasons).items())
    level = ERROR if len(wrong) > MOST_UNREADABLE * count else WARNING
    message = f"{len(wrong)} of {count} files cannot be read: {counted} ({first_names(wrong)})"
    return [Finding("corrupt", level, where, message, "Download or copy them again, or take them off the list")]


def _turned(where: str, paths: np.ndarray, looks: np.ndarray) -> list[Finding]:
    turned = paths[looks["orientation"] > 1]
    if not len(turned):
        return []
    message = f"{len(turned)} of {len(paths)} photos are turned by their EXIF orientation ({first_names(turned)})"
    advice = "They are read upright; --orientation=stored reads them as they are stored"
    return [Finding("orientation", NOTE, where, message, advice)]


def _near(names: list[str], paths: np.ndarray, where: np.ndarray, looks: np.ndarray) -> list[Finding]:
    """Near duplicates of each two lists, without those of the same bytes, which another check names."""
    seen = np.flatnonzero(looks["height"] > 0)
    pairs = seen[near_duplicates(looks["hash"][seen], looks["thumbnail"][seen])]
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


def _sizes(looks: np.ndarray) -> list[Finding]:
    read = looks[looks["height"] > 0]
    sizes = Counter(zip(read["height"].tolist(), read["width"].tolist(), strict=True))
    if not sizes:
        return []
    common = ", ".join(f"{h} x {w} ({count})" for (h, w), count in sizes.most_common(_MANY_SIZES))
    message = f"{len(read)} photos have {len(sizes)} sizes, height x width: {common}"
    return [Finding("sizes", NOTE, "all photos", message + ", ..." * (len(sizes) > _MANY_SIZES))]
