"""The rows of a CSV file of places as arrays, with errors that name the row."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

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
# Rows turned into arrays at a time: Python objects exist for these only.
_ROWS_PER_CHUNK = 16384
_TEXTS = ("timestamp", "place", "traversal", "condition")
_NUMBERS = ("heading", "frame")

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
        ValueError: the file is empty, misses a column or has a row that cannot be understood.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            columns = _find_columns(path, next(reader, []))
            rows = ((number, row) for number, row in enumerate(reader, start=2) if row)
            parser = _ChunkParser(path, columns)
            chunks = [parser.parse(chunk) for chunk in _chunks(rows)]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"`path` must be a CSV file in UTF-8 ({error}). Received: path={path}") from error
    if not chunks:
        raise ValueError(f"`path` must list at least one image below its header. Received: path={path}")
    table = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return table | {"splits": np.array(list(parser.splits), dtype=np.dtypes.StringDType())}


def _chunks(rows: Iterator[tuple[int, list[str]]]) -> Iterator[_Rows]:
    while chunk := list(islice(rows, _ROWS_PER_CHUNK)):
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
    """Turns rows into arrays; the kind of position and the codes of the splits hold for all chunks."""

    def __init__(self, path: Path, columns: dict[str, int]) -> None:
        self.splits: dict[str, int] = {}
        self._path = path
        self._columns = columns
        self._width = max(columns.values()) + 1
        self._position: tuple[str, str] | None = None

    def parse(self, rows: _Rows) -> dict[str, np.ndarray]:
        for number, row in rows:
            if len(row) < self._width:
                raise self._error(number, f"must have at least {self._width} columns", f"{len(row)} columns: {row}")
        cells = {name: [row[column].strip() for _, row in rows] for name, column in self._columns.items()}
        numbers = [number for number, _ in rows]
        table = self._positions(numbers, cells)
        table["image"] = _texts(
            [self._image(number, image) for number, image in zip(numbers, cells["image"], strict=True)]
        )
        table["role"] = np.array(
            [self._role(number, role) for number, role in zip(numbers, cells["role"], strict=True)], np.int8
        )
        splits = (split.lower() for split in cells.get("split", [""] * len(rows)))
        table["split"] = np.array([self.splits.setdefault(split, len(self.splits)) for split in splits], np.int32)
        table |= {name: self._optional_floats(numbers, name, cells[name]) for name in _NUMBERS if name in cells}
        return table | {name: _texts(cells[name]) for name in _TEXTS if name in cells}

    def _optional_floats(self, numbers: list[int], name: str, texts: list[str]) -> np.ndarray:
        """Numbers, NaN where a cell is empty."""
        values = np.array([_number(text) for text in texts])
        wrong = [i for i in np.flatnonzero(~np.isfinite(values)).tolist() if texts[i].lower() not in ("", "nan")]
        if wrong:
            unit = "degrees clockwise from north" if name == "heading" else "counted along the way"
            expected = f"must give the {name} as a number, {unit}, or leave the cell empty"
            raise self._error(numbers[wrong[0]], expected, f"{name}={texts[wrong[0]]!r}")
        return values

    def _positions(self, numbers: list[int], cells: dict[str, list[str]]) -> dict[str, np.ndarray]:
        pairs = [pair for pair in (_METRES, _DEGREES) if set(pair) <= set(cells)]
        if not pairs:
            return self._require_places(numbers, cells["place"])
        if self._position is None:
            self._position = next((pair for pair in pairs if cells[pair[0]][0]), pairs[0])
        for other in (pair for pair in pairs if pair != self._position):
            mixed = next((i for i in range(len(numbers)) if cells[other[0]][i] or cells[other[1]][i]), None)
            if mixed is not None:
                received = ", ".join(f"{name}={cells[name][mixed]!r}" for name in _METRES + _DEGREES)
                raise self._error(
                    numbers[mixed],
                    "must not mix degrees with metres: a file gives every position as easting and northing, or every "
                    "one as lat and lon",
                    received,
                )
        values = np.stack([self._floats(numbers, name, cells[name]) for name in self._position], axis=1)
        if self._position == _METRES:
            return {"positions": values}
        return {"positions": earth_centred(values[:, 0], values[:, 1]), "coordinates": values}

    def _require_places(self, numbers: list[int], places: list[str]) -> dict[str, np.ndarray]:
        if "" in places:
            number = numbers[places.index("")]
            raise self._error(number, "must name its place, where there are no columns of positions", "an empty cell")
        return {}

    def _floats(self, numbers: list[int], name: str, texts: list[str]) -> np.ndarray:
        limit = {"latitude": 90.0, "longitude": 180.0}.get(name, np.finfo(np.float64).max)
        values = np.array([_number(text) for text in texts])
        wrong = np.flatnonzero(~(np.abs(values) <= limit))
        if len(wrong):
            unit = f"degrees in [-{limit:g}, {limit:g}]" if name in _DEGREES else "metres"
            instead = "; leave these columns out where `place` alone says what belongs together"
            expected = f"must give the {name} as a number, {unit}" + instead * ("place" in self._columns)
            raise self._error(numbers[wrong[0]], expected, f"{name}={texts[wrong[0]]!r}")
        return values

    def _role(self, number: int, role: str) -> int:
        if role.lower() not in ROLES:
            raise self._error(number, f"must have one of the roles {list(ROLES)}", f"role={role!r}")
        return list(ROLES).index(role.lower())

    def _image(self, number: int, image: str) -> str:
        if not image:
            raise self._error(number, "must name an image", "an empty cell")
        return image

    def _error(self, number: int, expected: str, received: str) -> ValueError:
        return ValueError(f"Row {number} of `path` {expected}. Received: path={self._path}, {received}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _texts(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=np.dtypes.StringDType())
