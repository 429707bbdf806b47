"""The database images of a places.csv."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.datasets.photo_sources.photo_source import Cursor, Listed
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.datasets.photo_sources.unique_names import check_unique
from keras_sare.datasets.places.readers.csv_table import ROLES, table_chunks
from keras_sare.datasets.places.readers.folders import DATABASE_FOLDERS, join_image_folder

_UNKNOWN = float("nan")


class ListedPhotos:
    """Photos of a list as `keras_sare.datasets.read_csv` reads it; those of the role "database".

    It is gone through once when it is opened, so that all rows are known to be right.

    Args:
        path: of the CSV file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: rows cannot be understood, or there is no database image with a position.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._root = self._path.parent
        self._rows = 0
        kinds = set()
        for chunk in table_chunks(self._path):
            self._rows += int(_database(chunk).sum())
            kinds.add("degrees" if "coordinates" in chunk else "metres" if "positions" in chunk else "")
        if not self._rows or kinds not in ({"degrees"}, {"metres"}):
            raise ValueError(
                "`photos` must list database images with positions: easting and northing, or lat and lon. "
                f"Received: {path!r} with {self._rows} database images"
            )
        [self.kind] = kinds

    def photos(self, start: Cursor = ()) -> Iterator[Listed]:
        """See `PhotoSource.photos`."""
        skipped = int(start[0]) if start else 0
        number = 0
        for chunk in table_chunks(self._path):
            rows = _database(chunk)
            end = number + int(rows.sum())
            if end > skipped:
                for photo in self._of_chunk({name: column[rows] for name, column in chunk.items()}):
                    number += 1
                    if number > skipped:
                        yield Listed(photo, [number])
            number = end

    def count(self) -> int:
        """See `PhotoSource.count`."""
        return self._rows

    def state(self) -> dict[str, Any]:
        """See `PhotoSource.state`."""
        return {"rows": self._rows, "bytes": self._path.stat().st_size}

    def check_names(self, memory: float) -> None:
        """See `PhotoSource.check_names`."""
        check_unique(lambda: (listed.photo.name for listed in self.photos()), self._rows, memory)

    def _of_chunk(self, chunk: dict[str, np.ndarray]) -> Iterator[SourcePhoto]:
        paths = join_image_folder(self._root, DATABASE_FOLDERS, chunk["image"]).tolist()
        positions = chunk["coordinates" if self.kind == "degrees" else "positions"].tolist()
        headings = chunk["heading"].tolist() if "heading" in chunk else [_UNKNOWN] * len(paths)
        times = _texts(chunk, "timestamp")
        traversals = _texts(chunk, "traversal")
        for path, (first, second), *known in zip(paths, positions, headings, times, traversals, strict=True):
            yield SourcePhoto(os.path.relpath(path, self._root), path, (first, second), *known)


def _database(chunk: dict[str, np.ndarray]) -> np.ndarray:
    return chunk["role"] == ROLES.index("database")


def _texts(chunk: dict[str, np.ndarray], name: str) -> list[str]:
    texts: list[str] = chunk[name].tolist() if name in chunk else [""] * len(chunk["image"])
    return texts
