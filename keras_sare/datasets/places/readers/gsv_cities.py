"""GSV-Cities: a table for each city, images in a folder for each city, places by number."""

import csv
from pathlib import Path

import numpy as np

from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.readers.place_reader import PlaceReader
from keras_sare.datasets.places.readers.wrong_rows import WrongRows

_COLUMNS = ("place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid")
_NUMBERS = ("place_id", "year", "month", "northdeg", "lat", "lon")
_PLACES = 100_000
"""A city's own numbers; the authors add multiples of it to tell the cities apart."""
_SPLIT = "train"


def _read(root: Path, prefix: str) -> dict[str, PlaceDataset]:
    """One split: the newest photo of each place that has several is a query, all others are the database.

    The paper (Ali-bey et al., "GSV-Cities", 2022) trains on places and has neither roles nor other splits.
    """
    cities = [_read_city(path, root / "Images") for path in _tables(root, prefix)]
    images = cities[0][0]
    for others, _ in cities[1:]:
        images = images.followed_by(others)
    query = _newest_of_places(np.asarray(images.places), np.concatenate([months for _, months in cities]))
    database = images.subset(np.flatnonzero(~query))
    return {_SPLIT: PlaceDataset(f"{root.resolve().name}_{_SPLIT}", database, images.subset(np.flatnonzero(query)))}


def _tables(root: Path, prefix: str) -> list[Path]:
    return sorted((root / "Dataframes").glob(f"{prefix}*.csv"))


def _read_city(path: Path, images: Path) -> tuple[ImageSet, np.ndarray]:
    """The images of a table, and the month of each, counted from the year 0."""
    rows = _rows(path)
    cells = {name: [row[name] for row in rows] for name in _COLUMNS}
    timestamps = [f"{row['year']:0>4}-{row['month']:0>2}" for row in rows]
    image_set = ImageSet(
        paths=np.array([str(images / row["city_id"] / _file_name(row)) for row in rows], np.dtypes.StringDType()),
        places=np.array([f"{row['city_id']}/{row['place_id']}" for row in rows], np.dtypes.StringDType()),
        timestamps=np.array(timestamps, np.dtypes.StringDType()),
        coordinates=np.array([cells["lat"], cells["lon"]], np.float64).T,
        headings=np.array(cells["northdeg"], np.float64),
    )
    return image_set, 12 * np.array(cells["year"], np.int64) + np.array(cells["month"], np.int64)


def _rows(path: Path) -> list[dict[str, str]]:
    wrong = WrongRows()
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.DictReader(file, restval="")
            missing = set(_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise ValueError(
                    f"`path` must be a table of GSV-Cities with the columns {', '.join(_COLUMNS)}. "
                    f"Received: path={path} without {', '.join(sorted(missing))}"
                )
            rows = list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"`path` must be a CSV file in UTF-8 ({error}). Received: path={path}") from error
    for number, row in enumerate(rows, start=2):
        _check_row(number, row, wrong)
    wrong.end_chunk()
    wrong.check(path)
    if not rows:
        raise ValueError(f"`path` must list at least one image below its header. Received: path={path}")
    return rows


def _check_row(number: int, row: dict[str, str], wrong: WrongRows) -> None:
    for name in _NUMBERS:
        kind = float if name in ("lat", "lon") else int
        try:
            known = abs(kind(row[name])) < 1e9
        except ValueError:
            known = False
        if not known:
            whole = "a number" if kind is float else "a whole number"
            wrong.add(number, f"must give the {name} as {whole}", f"{name}={row[name]!r}")
    for name in ("city_id", "panoid"):
        if not row[name] or "/" in row[name]:
            wrong.add(number, f"must give the {name}, without a slash", f"{name}={row[name]!r}")


def _file_name(row: dict[str, str]) -> str:
    """The name that the authors' code makes of a row."""
    place = int(row["place_id"]) % _PLACES
    date = f"{row['year']:0>4}_{row['month']:0>2}"
    return f"{row['city_id']}_{place:07d}_{date}_{row['northdeg']:0>3}_{row['lat']}_{row['lon']}_{row['panoid']}.jpg"


def _newest_of_places(places: np.ndarray, months: np.ndarray) -> np.ndarray:
    """bool [N]: the newest photo, the last of equals, of each place that has several."""
    place, counts = np.unique(places, return_inverse=True, return_counts=True)[1:]
    order = np.lexsort((np.arange(len(place)), months, place))
    last = order[np.flatnonzero(np.diff(place[order], append=-1))]
    newest = np.zeros(len(places), bool)
    newest[last] = counts[place[last]] > 1
    return newest


GSV_CITIES = PlaceReader(
    files=("Dataframes/*.csv",),
    fits=lambda root, prefix: bool(_tables(root, prefix)) and (root / "Images").is_dir(),
    read=_read,
)
"""`Dataframes/CITY.csv` and `Images/CITY/`; the prefix chooses cities."""
