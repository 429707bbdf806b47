"""Answers as files: a table with a line a photo, and GeoJSON for maps."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.localization import Answers
from keras_sare.utils.choices import check_choice
from keras_sare.utils.files import atomic_path, check_writable_file

SUFFIXES = (".csv", ".geojson")
"""Of files that answers can be written to."""


def check_output(output: Path, kind: str) -> None:
    """Checks before the work that answers can be written.

    Args:
        output: the file.
        kind: of the index's positions, "metres" or "degrees".

    Raises:
        ValueError: it is no file that answers are written to, or GeoJSON is asked for where positions are metres.
        OSError: it cannot be written.
    """
    check_choice("output", output.suffix, SUFFIXES)
    if output.suffix == ".geojson" and kind != "degrees":
        raise ValueError("GeoJSON wants latitude and longitude, and the index has metres: take a .csv file")
    check_writable_file(output)


def write_answers(output: Path, photos: Sequence[str], answers: Answers, axes: tuple[str, str]) -> None:
    """Writes answers; the file appears whole or not at all.

    Args:
        output: a file with one of `SUFFIXES`.
        photos: Q names.
        answers: of the photos.
        axes: what the two numbers of a position are.
    """
    lines = [*_lines(photos, answers, axes)]
    with atomic_path(output) as path:
        if output.suffix == ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, lines[0].keys())
                writer.writeheader()
                writer.writerows(lines)
        else:
            features = [_feature(line) for line in lines if line["latitude"] is not None]
            path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def _lines(photos: Sequence[str], answers: Answers, axes: tuple[str, str]) -> Iterator[dict[str, Any]]:
    for i, photo in enumerate(photos):
        yield {
            "photo": photo,
            "known": bool(answers.known[i]),
            axes[0]: _plain(answers.positions[i, 0]),
            axes[1]: _plain(answers.positions[i, 1]),
            "probability": _plain(answers.probability[i]),
            "uncertainty_m": _plain(answers.uncertainty[i]),
            "most_similar": str(answers.candidates.names[i, 0]),
            "score": _plain(answers.candidates.scores[i, 0]),
        }


def _feature(line: dict[str, Any]) -> dict[str, Any]:
    # GeoJSON (RFC 7946, section 3.1.1) puts the longitude first.
    point = {"type": "Point", "coordinates": [line["longitude"], line["latitude"]]}
    properties = {name: value for name, value in line.items() if name not in ("latitude", "longitude")}
    return {"type": "Feature", "geometry": point, "properties": properties}


def _plain(value: np.floating[Any]) -> float | None:
    """NaN is no JSON, and an empty field of a table."""
    return float(value) if np.isfinite(value) else None
