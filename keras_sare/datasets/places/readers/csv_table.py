"""The rows of a CSV file of places as arrays, with errors that name the row."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from keras_sare.datasets.places.readers.wrong_rows import WrongRows
from keras_sare.datasets.places.spatial import earth_centred

ROLES = ("database", "query")

_NAMES = {
    "image": ("image", "path"),
    "role": ("role",),
    "split": ("split",),
    "easting": ("easting",),
    "northing": ("northing",),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
    "timestamp": ("timestamp",),
    "place": ("place",),
    "traversal": ("traversal", "pass"),
    "heading": ("heading",),
    "frame": ("frame",),
    "condition": ("condition",),
}
_METRES = ("easting", "northing")
_DEGREES = ("latitude", "longitude")
ROWS_PER_CHUNK = 16384
"""Rows turned into arrays at a time: Python objects exist for these only."""
_TEXTS = ("timestamp", "place", "traversal", "condition")
_NUMBERS = ("heading", "frame")
_ROLE_CODES = {role: code for code, role in enumerate(ROLES)}
_ONE_KIND = (
    "must not mix degrees with metres: a file gives every position as easting and northing, or every one as lat and lon"
)

_Rows = list[tuple[int, list[str]]]


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Reads the file into one array for each column of `read_csv`.

    Args:
        path: the CSV file, UTF-8.

    Returns:
        Columns by name, [N] each: texts as StringDType; `heading` and `frame` float64, NaN where a cell is empty, and
        `positions` float64 [N, 2] or [N, 3] metres and `coordinates` float64 [N, 2] degrees, where there are any;
        `role` int8, index into `ROLES`; `split` int32, index into `splits`, which holds the names of the splits.

    Raises:
        ValueError: the file is empty, misses a column or has rows that cannot be understood, which are named.
    """
    splits: dict[str, int] = {}
    chunks = [*table_chunks(path, splits)]
    if not chunks:
        raise ValueError(f"`path` must list at least one image below its header. Received: path={path}")
    table = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return table | {"splits": np.array(list(splits), dtype=np.dtypes.StringDType())}


def table_chunks(path: Path, splits: dict[str, int] | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Reads the file as `read_table` does, some thousand rows at a time.

    Args:
        path: as of `read_table`.
        splits: is given the code of each split by its name.

    Raises:
        ValueError: as of `read_table`; of rows that cannot be understood when all have been read.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            parser = _ChunkParser(_find_columns(path, next(reader, [])), {} if splits is None else splits)
            rows = ((number, row) for number, row in enumerate(reader, start=2) if row)
            for chunk in _chunks(rows):
                yield parser.parse(chunk)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"`path` must be a CSV file in UTF-8 ({error}). Received: path={path}") from error
    parser.wrong_rows.check(path)


def _chunks(rows: Iterator[tuple[int, list[str]]]) -> Iterator[_Rows]:
    while chunk := list(islice(rows, ROWS_PER_CHUNK)):
        yield chunk


def _find_columns(path: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    columns = {field: names.index(a) for field, aliases in _NAMES.items() for a in aliases if a in names}
    missing = ["image"] if "image" not in columns else []
    missing += ["role"] if "role" not in columns else []
    whole = any(set(pair) <= set(columns) for pair in (_METRES, _DEGREES))
    # Half of a position is a mistake, also where places are named.
    if not whole and ("place" not in columns or {*_METRES, *_DEGREES} & set(columns)):
        missing += ["easting and northing, or lat and lon, or place alone"]
    if missing:
        raise ValueError(
            f"`path` must be a CSV file whose first row names its columns; missing: {', '.join(missing)}. "
            f"Received: path={path} with the columns {names}"
        )
    return columns


class _ChunkParser:
    """Turns rows into arrays; the kind of position and the codes of the splits hold for all chunks.

    Attributes:
        splits: code of each split by its name.
        wrong_rows: what cannot be understood. What it names has values in the arrays that mean nothing.
    """

    def __init__(self, columns: dict[str, int], splits: dict[str, int]) -> None:
        self.splits = splits
        self.wrong_rows = WrongRows()
        self._columns = columns
        self._width = max(columns.values()) + 1
        self._position: tuple[str, str] | None = None

    def parse(self, rows: _Rows) -> dict[str, np.ndarray]:
        for number, row in rows:
            if len(row) < self._width:
                self.wrong_rows.add(number, f"must have at least {self._width} columns", f"{len(row)} columns: {row}")
        rows = [(number, row) for number, row in rows if len(row) >= self._width]
        cells = {name: [row[column].strip() for _, row in rows] for name, column in self._columns.items()}
        numbers = [number for number, _ in rows]
        table = self._positions(numbers, cells)
        table["image"] = _texts(self._images(numbers, cells["image"]))
        table["role"] = self._roles(numbers, cells["role"])
        splits = (split.lower() for split in cells.get("split", [""] * len(rows)))
        table["split"] = np.array([self.splits.setdefault(split, len(self.splits)) for split in splits], np.int32)
        table |= {name: self._optional_floats(numbers, name, cells[name]) for name in _NUMBERS if name in cells}
        self.wrong_rows.end_chunk()
        return table | {name: _texts(cells[name]) for name in _TEXTS if name in cells}

    def _optional_floats(self, numbers: list[int], name: str, texts: list[str]) -> np.ndarray:
        """Numbers, NaN where a cell is empty."""
        values = np.array([_number(text) for text in texts])
        unit = "degrees clockwise from north" if name == "heading" else "counted along the way"
        expected = f"must give the {name} as a number, {unit}, or leave the cell empty"
        for i in np.flatnonzero(~np.isfinite(values)).tolist():
            if texts[i].lower() not in ("", "nan"):
                self.wrong_rows.add(numbers[i], expected, f"{name}={texts[i]!r}")
        return values

    def _positions(self, numbers: list[int], cells: dict[str, list[str]]) -> dict[str, np.ndarray]:
        pairs = [pair for pair in (_METRES, _DEGREES) if set(pair) <= set(cells)]
        if not pairs:
            return self._require_places(numbers, cells["place"])
        if self._position is None and numbers:
            self._position = next((pair for pair in pairs if cells[pair[0]][0]), pairs[0])
        kind = self._position or pairs[0]
        mixed = self._mixed(numbers, cells, [pair for pair in pairs if pair != kind])
        values = np.stack([self._floats(numbers, name, cells[name], mixed) for name in kind], axis=1)
        if kind == _METRES:
            return {"positions": values}
        return {"positions": earth_centred(values[:, 0], values[:, 1]), "coordinates": values}

    def _mixed(self, numbers: list[int], cells: dict[str, list[str]], others: list[tuple[str, str]]) -> set[int]:
        """Indices of the rows that give the other kind of position, which are no numbers of this kind."""
        mixed = {i for other in others for i in range(len(numbers)) if cells[other[0]][i] or cells[other[1]][i]}
        for i in mixed:
            received = ", ".join(f"{name}={cells[name][i]!r}" for name in _METRES + _DEGREES)
            self.wrong_rows.add(numbers[i], _ONE_KIND, received)
        return mixed

    def _require_places(self, numbers: list[int], places: list[str]) -> dict[str, np.ndarray]:
        for number, place in zip(numbers, places, strict=True):
            if not place:
                expected = "must name its place, where there are no columns of positions"
                self.wrong_rows.add(number, expected, "an empty cell")
        return {}

    def _floats(self, numbers: list[int], name: str, texts: list[str], ignored: set[int]) -> np.ndarray:
        limit = {"latitude": 90.0, "longitude": 180.0}.get(name, np.finfo(np.float64).max)
        values = np.array([_number(text) for text in texts])
        unit = f"degrees in [-{limit:g}, {limit:g}]" if name in _DEGREES else "metres"
        instead = "; leave these columns out where `place` alone says what belongs together"
        expected = f"must give the {name} as a number, {unit}" + instead * ("place" in self._columns)
        wrong = np.flatnonzero(~(np.abs(values) <= limit))
        for i in wrong.tolist():
            if i not in ignored:
                self.wrong_rows.add(numbers[i], expected, f"{name}={texts[i]!r}")
        values[wrong] = 0
        return values

    def _roles(self, numbers: list[int], roles: list[str]) -> np.ndarray:
        codes = np.array([_ROLE_CODES.get(role.lower(), -1) for role in roles], np.int8)
        for i in np.flatnonzero(codes < 0).tolist():
            self.wrong_rows.add(numbers[i], f"must have one of the roles {list(ROLES)}", f"role={roles[i]!r}")
        return codes

    def _images(self, numbers: list[int], images: list[str]) -> list[str]:
        for number, image in zip(numbers, images, strict=True):
            if not image:
                self.wrong_rows.add(number, "must name an image", "an empty cell")
        return images


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _texts(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=np.dtypes.StringDType())
