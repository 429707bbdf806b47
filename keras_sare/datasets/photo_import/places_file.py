"""Writing `places.csv`, and what was left out of it."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_sare.datasets.photo_import.import_plan import ImportPlan
from keras_sare.datasets.photo_import.roles import QUERY
from keras_sare.datasets.photo_import.splits import SPLITS
from keras_sare.utils.files import atomic_path


def write_places(path: str | os.PathLike[str], plan: ImportPlan, images: np.ndarray) -> None:
    """Writes the photos that are not left out as the file that `keras_sare.datasets.read_csv` reads.

    Args:
        path: it appears whole or not at all.
        plan: with splits and roles.
        images: StringDType [N], the files of all its photos as they are to be listed.
    """
    kept = plan.kept
    photos = plan.photos.subset(kept)
    columns: dict[str, Sequence[str]] = {
        "image": images[kept].tolist(),
        "role": ["query" if role == QUERY else "database" for role in plan.roles[kept].tolist()],
        "split": [SPLITS[split] for split in plan.splits[kept].tolist()],
    }
    if plan.positions is not None and plan.positions.shape[1] == 2:
        columns["easting"] = _numbers(plan.positions[kept, 0], 3)
        columns["northing"] = _numbers(plan.positions[kept, 1], 3)
    elif plan.positions is not None:
        columns["lat"] = _numbers(photos.latitudes, 8)
        columns["lon"] = _numbers(photos.longitudes, 8)
    columns["place"] = photos.places.tolist()
    columns["heading"] = _numbers(photos.headings, 2)
    columns["timestamp"] = [_time(second) for second in photos.seconds.tolist()]
    columns["pass"] = plan.traversals[kept].tolist() if plan.positions is not None else []
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    write_table(path, columns, zip(*columns.values(), strict=True))


def write_table(path: str | os.PathLike[str], header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Writes a CSV file, which appears whole or not at all."""
    with atomic_path(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _numbers(values: np.ndarray, digits: int) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.{digits}f}" for value in values.tolist()]


def _time(second: float) -> str:
    return "" if np.isnan(second) else str(np.datetime64(int(second), "s"))
