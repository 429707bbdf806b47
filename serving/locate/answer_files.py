"""Answers as files: a table with a line a photo, and GeoJSON for maps."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_sare.localization import PhotoAnswer
from keras_sare.utils.choices import check_choice
from keras_sare.utils.files import atomic_path, check_writable_file

SUFFIXES = (".csv", ".geojson")
"""Of files that answers can be written to."""


def check_output(output: Path, axes: Sequence[str]) -> None:
    """Checks before the work that answers can be written.

    Args:
        output: the file.
        axes: names of all numbers of positions.

    Raises:
        ValueError: it is no file that answers are written to, or GeoJSON is asked for where positions are metres.
        OSError: it cannot be written.
    """
    check_choice("output", output.suffix, SUFFIXES)
    if output.suffix == ".geojson" and "easting" in axes:
        raise ValueError("GeoJSON wants latitude and longitude, and the index has metres: take a .csv file")
    check_writable_file(output)


def write_answers(output: Path, answers: Iterable[tuple[str, PhotoAnswer]], axes: Sequence[str]) -> int:
    """Writes answers, one at a time; the file appears whole or not at all.

    Args:
        output: a file with one of `SUFFIXES`.
        answers: names of photos and their answers.
        axes: names of all numbers of positions.

    Returns:
        Number of photos whose place is known.
    """
    known = 0
    write = _TableFile if output.suffix == ".csv" else _MapFile
    with atomic_path(output) as path, path.open("w", newline="", encoding="utf-8") as file:
        target = write(file, axes)
        for photo, answer in answers:
            known += answer.known
            target.add(_line(photo, answer, axes))
        target.end()
    return known


class _TableFile:
    def __init__(self, file: Any, axes: Sequence[str]) -> None:
        self._writer = csv.DictWriter(file, _line("", PhotoAnswer(), axes).keys())
        self._writer.writeheader()

    def add(self, line: dict[str, Any]) -> None:
        self._writer.writerow(line)

    def end(self) -> None:
        """Nothing follows the last line."""


class _MapFile:
    def __init__(self, file: Any, _: Sequence[str]) -> None:
        self._file = file
        self._before = '{"type": "FeatureCollection", "features": ['

    def add(self, line: dict[str, Any]) -> None:
        if line["latitude"] is not None:
            self._file.write(self._before + json.dumps(_feature(line)))
            self._before = ",\n"

    def end(self) -> None:
        self._file.write(("" if self._before == ",\n" else self._before) + "]}")


def _line(photo: str, answer: PhotoAnswer, axes: Sequence[str]) -> dict[str, Any]:
    position = answer.position or {}
    first = answer.candidates[0] if answer.candidates else None
    return {
        "photo": photo,
        "known": answer.known,
        **{axis: position.get(axis) for axis in axes},
        "probability": answer.probability,
        "uncertainty_m": answer.uncertainty,
        "map": answer.map,
        "most_similar": None if first is None else first.name,
        "score": None if first is None else first.score,
        "surest": answer.surest,
    }


def _feature(line: dict[str, Any]) -> dict[str, Any]:
    # GeoJSON (RFC 7946, section 3.1.1) puts the longitude first.
    point = {"type": "Point", "coordinates": [line["longitude"], line["latitude"]]}
    properties = {name: value for name, value in line.items() if name not in ("latitude", "longitude")}
    return {"type": "Feature", "geometry": point, "properties": properties}
