"""Which photos a town is recorded with: two of each place by day, and three queries about it."""

from dataclasses import dataclass

import numpy as np

from keras_sare.datasets.town.camera import Camera
from keras_sare.datasets.town.lighting import CONDITIONS

SPACING = 8.0
"""Metres between two places of a street."""
LONGEST = 12
"""Most places in a street."""
LANE = 2.5
"""Metres from the middle of the street at which the photos are taken, on the side away from what they show."""
SURVEY = "survey"
"""The traversal that takes the database."""


@dataclass(frozen=True)
class Shot:
    """One photo to take.

    Attributes:
        role: `database` or `query`.
        split: `train`, `val` or `test`.
        street: number of the street in the town.
        station: number of the place in its street.
        side: `left` or `right`, what the photo shows.
        passage: `survey` for the database, else the light, one of `CONDITIONS`.
        camera: its pose.
    """

    role: str
    split: str
    street: int
    station: int
    side: str
    passage: str
    camera: Camera

    @property
    def place(self) -> str:
        """Name of the place, `split/street/station`."""
        return f"{self.split}/street{self.street:02d}/{self.station:02d}"

    @property
    def image(self) -> str:
        """Path of the photo below the folder of its role."""
        return f"{self.place}_{self.side}_{self.passage}.jpg"

    @property
    def condition(self) -> str:
        """The light, one of `CONDITIONS`."""
        return "day" if self.passage == SURVEY else self.passage


def plan_shots(places: dict[str, int], rng: np.random.Generator) -> tuple[list[Shot], list[float]]:
    """Plans the photos of a town.

    A split has streets of its own, at least two of them, so that every photo has others farther than 25 m.

    Args:
        places: number of places of each split.
        rng: source of the queries' poses.

    Returns:
        The photos and the length of each street in metres.
    """
    shots: list[Shot] = []
    lengths: list[float] = []
    for split, count in places.items():
        streets = max(2, -(-count // LONGEST))
        for stations in np.array_split(np.arange(count), streets):
            for station in range(len(stations)):
                shots += _shots_of_place(split, len(lengths), station, rng)
            lengths.append(SPACING * (len(stations) - 1))
    return shots, lengths


def _shots_of_place(split: str, street: int, station: int, rng: np.random.Generator) -> list[Shot]:
    along = station * SPACING
    shots = [
        Shot("database", split, street, station, name, SURVEY, Camera(along, -side * LANE, side * np.pi / 2))
        for name, side in (("left", 1), ("right", -1))
    ]
    for condition in CONDITIONS:
        side = int(rng.choice((-1, 1)))
        name = "left" if side > 0 else "right"
        shots.append(Shot("query", split, street, station, name, condition, _query(along, side, rng)))
    return shots


def _query(along: float, side: int, rng: np.random.Generator) -> Camera:
    # More than the metre below which training takes two photos for one, less than half the way to the next place.
    beside = rng.uniform(1.2, SPACING / 2) * rng.choice((-1, 1))
    across = -side * LANE + rng.uniform(-1, 1)
    yaw = side * np.pi / 2 + np.radians(rng.uniform(-15, 15))
    return Camera(along + beside, across, yaw, rng.uniform(-0.06, 0.06))
