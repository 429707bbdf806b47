"""Places listed in a CSV file: the format for photos of one's own."""

import os
from pathlib import Path

import numpy as np

from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.readers.csv_table import ROLES, read_table
from keras_sare.datasets.places.readers.folders import DATABASE_FOLDERS, QUERY_FOLDERS, join_image_folder
from keras_sare.datasets.places.readers.place_reader import PlaceReader

_CSV_FILE = "places.csv"
_FOLDERS = {"database": DATABASE_FOLDERS, "query": QUERY_FOLDERS}
_EVERY_SPLIT = "all"


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
    | heading | optional: where the camera looks, degrees clockwise from north; cells may be empty |
    | frame | optional: number of the image in a video that shows the same way as another, frame by frame |
    | condition | optional, text: light, weather or season of a query, by which results are reported apart |

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
        ValueError: the file is empty, misses a column, mixes degrees with metres, has rows that cannot be understood
            (counted, the first ten named by their numbers, the header being row 1), or splits have no database or no
            queries.
    """
    name = Path(root).resolve().name
    splits = _read_sides(path, root)
    _check_sides(path, splits)
    return {split: PlaceDataset(f"{name}_{split}", each["database"], each["query"]) for split, each in splits.items()}


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
    table = read_table(Path(path))
    for code, role in enumerate(ROLES):
        rows = table["role"] == code
        if rows.any():
            table["image"][rows] = join_image_folder(root, _FOLDERS[role], table["image"][rows])
    return {
        split: {role: _image_set(table, rows & (table["role"] == code)) for code, role in enumerate(ROLES)}
        for split, rows in _split_rows(path, table).items()
    }


def _check_sides(path: str | os.PathLike[str], splits: dict[str, dict[str, ImageSet]]) -> None:
    """Names all sides that are empty, not only the first."""
    empty = [f"{split} has no {role}" for split, sides in splits.items() for role in ROLES if not len(sides[role])]
    if empty:
        raise ValueError(
            f"`path` must list images of both roles, {' and '.join(ROLES)}, for each split; add them, or put `all` as "
            f"the split of a database that all share. Received: path={path}, in which {', '.join(empty)} images"
        )


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
        headings=optional("heading"),
        frames=optional("frame"),
        conditions=optional("condition"),
    )


CSV = PlaceReader(
    files=(_CSV_FILE,),
    fits=lambda root, _: (root / _CSV_FILE).exists(),
    read=lambda root, _: read_csv(root / _CSV_FILE, root),
    read_databases=lambda root, _: read_csv_databases(root / _CSV_FILE, root),
)
"""`places.csv` in the folder; it has no prefix."""
