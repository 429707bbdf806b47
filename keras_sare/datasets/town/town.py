"""A small town that renders itself: a place recognition dataset without a download."""

import csv
import os
from pathlib import Path

import numpy as np
from PIL import Image

from keras_sare.datasets.town.lighting import Lighting
from keras_sare.datasets.town.renderer import Renderer
from keras_sare.datasets.town.shots import Shot, plan_shots
from keras_sare.datasets.town.stock import Stock
from keras_sare.datasets.town.streets import Street, traffic
from keras_sare.utils.files import atomic_path
from keras_sare.utils.progress import progress

COLUMNS = ("image", "role", "split", "easting", "northing", "place", "pass")
BLOCK = 300.0
"""Metres between the middles of neighbouring streets."""
BLOCKS = 4
"""Streets in a row of the town's grid."""
FOLDERS = {"database": "images", "query": "queries"}


class Town:
    """Streets of one stock of fronts, on a grid of blocks.

    Args:
        seed: source of everything; the same seed gives the same town.
        image_size: height and width of the photos in pixels.
        places: number of places of each split.

    Attributes:
        shots: the photos to take.
    """

    def __init__(self, seed: int, image_size: tuple[int, int], places: dict[str, int]) -> None:
        self._seed = seed
        rng = np.random.default_rng([seed, 0])
        stock = Stock(rng)
        self.shots, lengths = plan_shots(places, rng)
        self._streets = [Street.draw(length, stock, rng) for length in lengths]
        self._bearings = rng.uniform(0, np.pi, len(lengths))
        self._renderer = Renderer(stock.fronts, image_size, rng)

    def position(self, shot: Shot) -> tuple[float, float]:
        """Easting and northing in metres of where a photo is taken."""
        bearing = self._bearings[shot.street]
        along = shot.camera.along - self._streets[shot.street].length / 2
        turn = np.array([[np.cos(bearing), -np.sin(bearing)], [np.sin(bearing), np.cos(bearing)]])
        row, column = divmod(shot.street, BLOCKS)
        easting, northing = turn @ (along, shot.camera.across) + (BLOCK * column, BLOCK * row)
        return float(easting), float(northing)

    def photo(self, number: int) -> np.ndarray:
        """Takes photo `number` of `shots`: uint8 RGB [height, width, 3]."""
        shot = self.shots[number]
        street = self._streets[shot.street]
        rng = np.random.default_rng([self._seed, 1, number])
        light = Lighting.draw(shot.condition, rng)
        things = street.fixtures + traffic(street.length, rng)
        return self._renderer.render(street.walls, things, shot.camera, light, rng)


def render_town(
    folder: str | os.PathLike[str],
    seed: int = 0,
    image_size: tuple[int, int] = (120, 160),
    train_places: int = 96,
    val_places: int = 24,
    test_places: int = 60,
) -> Path:
    """Renders a town and writes it as a place recognition dataset.

    The houses come from one small stock of fronts, so that a single house is ambiguous. Each place is photographed
    twice for the database, once to either side, by day, and three times as a query: by day, in the evening and at
    night, one to four metres further along. Cars, vans, market stalls, people, lit windows and the light differ from
    photo to photo: an embedding has to learn to look past them. The splits lie in different streets, more than 100 m
    apart.

    Args:
        folder: where to write `places.csv` (image, role, split, easting, northing, place, pass), `images/` (database)
            and `queries/`. It appears whole or not at all.
        seed: number of the town; the same number gives the same files.
        image_size: height and width of the photos in pixels.
        train_places: number of places for training, five photos each.
        val_places: number of places for validation.
        test_places: number of places for the test.

    Returns:
        The folder.

    Raises:
        ValueError: an argument is out of range.
        FileExistsError: `folder` exists and is not empty.
    """
    folder = Path(folder)
    places = {"train": train_places, "val": val_places, "test": test_places}
    _check(folder, seed, image_size, places)
    with atomic_path(folder) as partial:
        _write(Town(seed, image_size, places), partial)
    return folder


def _check(folder: Path, seed: int, image_size: tuple[int, int], places: dict[str, int]) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"`folder` must be new or empty: delete it or choose another one. Received: folder={str(folder)!r}"
        )
    if seed < 0:
        raise ValueError(f"`seed` must be 0 or more. Received: seed={seed}")
    if len(image_size) != 2 or min(image_size) < 16:
        raise ValueError(
            "`image_size` must be a height and a width of at least 16 pixels, such as (120, 160). "
            f"Received: image_size={image_size}"
        )
    for split, count in places.items():
        if count < 2:
            raise ValueError(
                f"`{split}_places` must be 2 or more, so that each photo has another one far away. "
                f"Received: {split}_places={count}"
            )


def _write(town: Town, folder: Path) -> None:
    rows = []
    for number, shot in enumerate(progress(town.shots, "rendering the town", unit="photo")):
        path = folder / FOLDERS[shot.role] / shot.image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(town.photo(number)).save(path, quality=90)
        easting, northing = (f"{metres:.3f}" for metres in town.position(shot))
        rows.append((shot.image, shot.role, shot.split, easting, northing, shot.place, shot.passage))
    with open(folder / "places.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
