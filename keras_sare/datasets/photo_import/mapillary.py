"""The description of photos that mapillary_tools writes: `mapillary_image_description.json`."""

import datetime
import math
import os
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from keras_sare.datasets.checks.finding import WARNING, Finding
from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.utils.formats.json_file import read_json

DESCRIPTION = "mapillary_image_description.json"
_TIME = "%Y_%m_%d_%H_%M_%S_%f"
_LONGEST = 1024


def read_mapillary(path: str | os.PathLike[str], names: np.ndarray) -> tuple[PhotoList, list[Finding]]:
    """Reads positions (MAPLatitude, MAPLongitude), times (UTC), compass headings and sequences.

    Files are found by the end of their path, for the description may have been written on another machine.

    Args:
        path: the description.
        names: StringDType [N], photos of the folder, relative to it.

    Returns:
        The photos, and what does not fit.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no list of descriptions.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(
            f"`path` must be a list of descriptions, as mapillary_tools writes it. Received: path={path}, "
            f"{type(entries).__name__}"
        )
    lists = {name: np.full(len(names), np.nan) for name in ("latitudes", "longitudes", "headings", "seconds")}
    lists["sequences"] = np.zeros(len(names), np.dtypes.StringDType())
    find = _Finder(names)
    findings = _Faults(os.fspath(path))
    for entry in entries:
        name = entry.get("filename")
        if entry.get("filetype", "image") != "image":
            findings.note("video", "describe videos, which are not read", "Sample photos of them", name)
        elif "error" in entry or not _is_located(entry):
            findings.note("no_position", "have an error or no position", "Process these photos anew", name)
        elif (index := find(name)) is None:
            findings.note("missing", "name no photo of the folder", "Complete the folder", name)
        else:
            for key, value in _facts(entry).items():
                lists[key][index] = value
    return PhotoList.of(names, **lists), findings.list()


def _is_located(entry: dict[str, Any]) -> bool:
    latitude = _number(entry.get("MAPLatitude"))
    longitude = _number(entry.get("MAPLongitude"))
    return abs(latitude) <= 90 and abs(longitude) <= 180


def _facts(entry: dict[str, Any]) -> dict[str, Any]:
    compass = entry.get("MAPCompassHeading")
    headings = compass if isinstance(compass, dict) else {}
    sequence = entry.get("MAPSequenceUUID")
    return {
        "latitudes": _number(entry["MAPLatitude"]),
        "longitudes": _number(entry["MAPLongitude"]),
        "headings": _number(headings.get("TrueHeading", headings.get("MagneticHeading"))) % 360,
        "seconds": _seconds(entry.get("MAPCaptureTime")),
        "sequences": sequence[:_LONGEST] if isinstance(sequence, str) else "",
    }


def _number(value: Any) -> float:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
    return float(value) if plain else math.nan


def _seconds(value: Any) -> float:
    try:
        time = datetime.datetime.strptime(value, _TIME)
    except (TypeError, ValueError):
        return math.nan
    return time.replace(tzinfo=datetime.UTC).timestamp()


class _Finder:
    """Finds photos by the last part of their path, and by more of it where several have the same."""

    def __init__(self, names: np.ndarray) -> None:
        self._by_file: dict[str, list[tuple[int, str]]] = {}
        for index, name in enumerate(names.tolist()):
            self._by_file.setdefault(PurePosixPath(name).name, []).append((index, name))

    def __call__(self, path: Any) -> int | None:
        if not isinstance(path, str) or len(path) > 16 * _LONGEST:
            return None
        path = path.replace("\\", "/")
        alike = self._by_file.get(PurePosixPath(path).name, [])
        whole = [(name.count("/"), index) for index, name in alike if f"/{path}".endswith(f"/{name}")]
        if whole:
            return max(whole)[1]  # The one with the most folders in common.
        return alike[0][0] if len(alike) == 1 else None


class _Faults:
    """Counts the entries of each fault and names the first."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._first: dict[tuple[str, str, str], str] = {}

    def note(self, kind: str, message: str, advice: str, name: Any) -> None:
        self._counts[kind, message, advice] += 1
        self._first.setdefault((kind, message, advice), name[:_LONGEST] if isinstance(name, str) else "no filename")

    def list(self) -> list[Finding]:
        return [
            Finding(fault[0], WARNING, self._where, f"{count} entries {fault[1]} ({self._first[fault]})", fault[2])
            for fault, count in self._counts.items()
        ]
