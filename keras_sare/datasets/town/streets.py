"""Streets of houses, what always stands in them and what passes through."""

from dataclasses import dataclass

import numpy as np

from keras_sare.datasets.town.billboards import VARIANTS, Billboard
from keras_sare.datasets.town.stock import WIDTHS, Stock
from keras_sare.datasets.town.walls import Walls

ROAD = 4.0
"""Metres from the middle of a street to the kerb."""
FRONTS = 8.0
"""Metres from the middle of a street to its fronts."""
MARGIN = 16.0
"""Metres of street beyond the first and the last place."""
LAMP_SPACING = 18.0
"""Metres between two street lamps."""
ALLEY = 9.0
PAINTS = np.array(
    [(0.8, 0.8, 0.82), (0.1, 0.1, 0.12), (0.6, 0.1, 0.1), (0.15, 0.25, 0.5), (0.4, 0.42, 0.44), (0.7, 0.6, 0.2)]
)


@dataclass(frozen=True)
class Street:
    """One street of a town.

    Attributes:
        length: metres from its first to its last place.
        walls: its houses.
        fixtures: its trees and lamp posts, which stand in every photo.
    """

    length: float
    walls: Walls
    fixtures: list[Billboard]

    @classmethod
    def draw(cls, length: float, stock: Stock, rng: np.random.Generator) -> "Street":
        """Lays out a street of `length` metres with the fronts of `stock`."""
        rows = [_row(length, side, stock, rng) for side in (-1, 1)]
        ends = [_end(along, stock, rng) for along in (-MARGIN - 2, length + MARGIN + 2)]
        return cls(length, Walls.join(rows + ends), _fixtures(length, rng))


def traffic(length: float, rng: np.random.Generator) -> list[Billboard]:
    """Draws the cars, vans, market stalls and people of one moment in a street of `length` metres."""
    things = []
    for side in (-1, 1):
        for along in np.arange(-MARGIN, length + MARGIN, 6.0):
            if rng.random() < 0.66:
                kind = "van" if rng.random() < 0.4 else "car"
                things.append(_thing(kind, along + rng.uniform(-0.4, 0.4), side * (ROAD - 1), rng))
            if rng.random() < 0.22:
                things.append(_thing("stall", along + rng.uniform(-2, 2), side * 6.2, rng))
        for _ in range(rng.poisson(0.11 * length)):
            things.append(_thing("person", rng.uniform(-MARGIN, length + MARGIN), side * rng.uniform(5, 7), rng))
    return things


def _thing(kind: str, along: float, across: float, rng: np.random.Generator) -> Billboard:
    paint = rng.uniform(0.03, 0.5, 3) if kind == "person" else PAINTS[rng.integers(len(PAINTS))]
    scale = {"tree": 0.2, "person": 0.1}.get(kind, 0.0)
    return Billboard(kind, along, across, paint, 1 + scale * rng.uniform(-1, 1), int(rng.integers(VARIANTS)))


def _fixtures(length: float, rng: np.random.Generator) -> list[Billboard]:
    posts = np.arange(np.ceil(-MARGIN / LAMP_SPACING), (length + MARGIN) / LAMP_SPACING) * LAMP_SPACING
    things = []
    for side in (-1, 1):
        things += [_thing("lamp", along, side * (ROAD + 0.5), rng) for along in posts]
        trees = rng.uniform(-MARGIN, length + MARGIN, rng.poisson(length / 20))
        things += [_thing("tree", along, side * (ROAD + 0.8), rng) for along in trees]
    return things


@dataclass(frozen=True)
class _Plot:
    left: float
    right: float
    depth: float
    front: int
    height: float


def _plots(length: float, stock: Stock, rng: np.random.Generator) -> list[_Plot]:
    plots = []
    along = -MARGIN - rng.uniform(2, 8)
    while along < length + MARGIN + 2:
        if rng.random() < 0.12:
            front = stock.blank
            width = rng.uniform(2, 3.5)
            setback = ALLEY
        else:
            front = stock.draw(rng)
            width = stock.fronts[front].width
            setback = float(rng.choice([0.0, 0.0, 0.6, 1.4]))
        plots.append(_Plot(along, along + width, FRONTS + setback, front, stock.fronts[front].height))
        along += width
    return plots


def _row(length: float, side: int, stock: Stock, rng: np.random.Generator) -> Walls:
    plots = _plots(length, stock, rng)
    segments = [((plot.left, plot.depth), (plot.right, plot.depth), plot.front, plot.height) for plot in plots]
    for plot, following in zip(plots, plots[1:], strict=False):
        if plot.depth != following.depth:
            # The side wall between two depths belongs to the house that stands further out.
            outer = min(plot, following, key=lambda house: house.depth)
            segments.append(((plot.right, plot.depth), (plot.right, following.depth), stock.blank, outer.height))
    start, end, front, height = (np.array(field) for field in zip(*segments, strict=True))
    if side < 0:
        start, end = end, start
    return Walls(start * (1, side), end * (1, side), front, height)


def _end(along: float, stock: Stock, rng: np.random.Generator) -> Walls:
    width = WIDTHS[-1]
    across = np.arange(-2, 3) * width
    corners = np.stack([np.full(len(across), along), across], 1)
    start, end = (corners[1:], corners[:-1]) if along > 0 else (corners[:-1], corners[1:])
    fronts = np.array([stock.draw(rng, width) for _ in range(len(start))])
    return Walls(start, end, fronts, np.array([stock.fronts[front].height for front in fronts]))
