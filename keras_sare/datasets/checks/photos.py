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
    _, listed_first = np.unique(paths, return_index=True)
    seen = np.sort(listed_first[looks["height"][listed_first] > 0])
    pairs = seen[near_duplicates(looks["hash"][seen], looks["thumbnail"][seen])]
    involved = np.unique(pairs)
    numbers = np.zeros(len(paths), np.int64)
    numbers[involved] = photo_numbers(paths[involved])
    pairs = pairs[numbers[pairs[:, 0]] != numbers[pairs[:, 1]]]
    findings = []
    for first, second in np.unique(where[pairs], axis=0).tolist():
        chosen = pairs[(where[pairs] == [first, second]).all(axis=1)]
        findings.append(_nearly_the_same(names[first], names[second], paths[chosen]))
    return findings


def _nearly_the_same(first: str, second: str, pairs: np.ndarray) -> Finding:
    count = len(np.unique(pairs[:, 1]))
    example = f"{pairs[0, 1]} and {pairs[0, 0]}"
    if first == second:
        message = f"{count} photos look nearly the same as others ({example})"
        advice = "Photos of a standing camera may stay; one that was stored twice belongs on the list once"
        return Finding("near_duplicate", NOTE, second, message, advice)
    message = f"{count} photos look nearly the same as photos of {first} ({example})"
    advice = "Look at them: a photo that is stored anew, resized or compressed, is found without being recognised"
    return Finding("near_duplicate", WARNING, second, message, advice)


def _sizes(looks: np.ndarray) -> list[Finding]:
    read = looks[looks["height"] > 0]
    sizes = Counter(zip(read["height"].tolist(), read["width"].tolist(), strict=True))
    if not sizes:
        return []
    common = ", ".join(f"{h} x {w} ({count})" for (h, w), count in sizes.most_common(_MANY_SIZES))
    number = "one size" if len(sizes) == 1 else f"{len(sizes)} sizes"
    message = f"{len(read)} photos have {number}, height x width: {common}"
    return [Finding("sizes", NOTE, "all photos", message + ", ..." * (len(sizes) > _MANY_SIZES))]
