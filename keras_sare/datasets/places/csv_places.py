"""Places listed in a CSV file: the format for photos of one's own."""

import csv
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from keras_sare.datasets.places.folders import DATABASE_FOLDERS, QUERY_FOLDERS, join_image_folder
from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.spatial import earth_centred

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
}
_METRES = ("easting", "northing")
_DEGREES = ("latitude", "longitude")
_ROLES = {"database": DATABASE_FOLDERS, "query": QUERY_FOLDERS}
_EVERY_SPLIT = "all"
# Rows turned into arrays at a time: Python objects exist for these only.
_ROWS_PER_CHUNK = 16384

_Rows = list[tuple[int, list[str]]]


def read_csv(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> dict[str, PlaceDataset]:
    """Reads places from a CSV file with a header, one row an image.

    | column | meaning |
    |---|---|
    | image or path | the file; absolute, or relative to the folder of images (see `root`) |
    | role | database or query |
    | easting, northing | planar position in metres |
    | lat, lon (or latitude, longitude) | or the position in WGS84 degrees |
    | place | name of the place; optional where there are positions, and enough where there are none |
    | split | optional: train, val, test or any name |
    | timestamp | optional, text |
    | pass or traversal | optional, text: names the walk or drive an image was taken on |

    Other columns are ignored, and so is the case of column names, roles and splits. A file holds one kind of position.
    Where it has columns of positions, they alone say what is near what, and `place` is only shown.

    A row whose split is `all` belongs to every split that the file names: a database that validation and test share.
    A file without a split column, or with nothing but empty and `all` in it, is one dataset named `all`. An empty split
    in a file that names splits is an error.

    Args:
        path: the CSV file, UTF-8.
        root: the folder of the images: the database in `root/images`, the queries in `root/queries`,
            `root/queries_real`, `root/query` or `root/images`, or either in `root` itself, wherever most of the
            files are (see `join_image_folder`).

    Returns:
        The datasets by split. Positions given in degrees become earth-centred metres (`earth_centred`); the degrees
        themselves are `coordinates`, [N, 2] latitude and longitude.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, misses a column, mixes degrees with metres, has a row that cannot be understood
            (named by its number, the header being row 1), or a split has no database or no queries.
    """
    name = Path(root).resolve().name
    return {
        split: PlaceDataset(f"{name}_{split}", sides["database"], sides["query"])
        for split, sides in _read_sides(path, root).items()
    }


def read_csv_databases(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> dict[str, ImageSet]:
    """Reads the database images of a CSV file alone: no query need be listed.

    Args:
        path: as of `read_csv`.
        root: as of `read_csv`.

    Returns:
        The images by split, those splits that have any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_csv`.
    """
    sides = {split: each["database"] for split, each in _read_sides(path, root).items()}
    return {split: images for split, images in sides.items() if len(images)}


def _read_sides(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> dict[str, dict[str, ImageSet]]:
    """The images by split and role."""
    table = _read_table(Path(path))
    for code, folders in enumerate(_ROLES.values()):
        rows = table["role"] == code
        if rows.any():
            table["image"][rows] = join_image_folder(root, folders, table["image"][rows])
    return {
        split: {role: _image_set(table, rows & (table["role"] == code)) for code, role in enumerate(_ROLES)}
        for split, rows in _split_rows(path, table).items()
    }


def _read_table(path: Path) -> dict[str, np.ndarray]:
    """Reads the file into one array for each column; the names of the splits come as `splits`."""
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
        return table | {name: _texts(cells[name]) for name in ("timestamp", "place", "traversal") if name in cells}

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
        if role.lower() not in _ROLES:
            raise self._error(number, f"must have one of the roles {list(_ROLES)}", f"role={role!r}")
        return list(_ROLES).index(role.lower())

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


def _split_rows(path: str | os.PathLike[str], table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    masks = {str(name): table["split"] == code for code, name in enumerate(table["splits"])}
    everywhere = masks.pop(_EVERY_SPLIT, np.zeros(len(table["split"]), bool))
    unnamed = masks.pop("", np.zeros(len(table["split"]), bool))
    if not masks:
        return {_EVERY_SPLIT: everywhere | unnamed}
    if unnamed.any():
        raise ValueError(
            f"`path` must give every row a split, or none: `all` puts a row into every split. "
            f"Received: path={path} with the splits {list(masks)} and {unnamed.sum()} rows without one"
        )
    return {name: mask | everywhere for name, mask in masks.items()}


def _image_set(table: dict[str, np.ndarray], rows: np.ndarray) -> ImageSet:
    def optional(name: str) -> np.ndarray | None:
        return table[name][rows] if name in table else None

    return ImageSet(
        paths=table["image"][rows],
        positions=optional("positions"),
        timestamps=optional("timestamp"),
        places=optional("place"),
        traversals=optional("traversal"),
        coordinates=optional("coordinates"),
    )
