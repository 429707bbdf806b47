"""The fronts that a town is built from."""

import numpy as np

from keras_sare.datasets.town.canvas import Canvas, Facade
from keras_sare.datasets.town.facades import GroundStyle, UpperStyle, draw_facade

WIDTHS = (6, 8, 10)
UPPERS = 4
GROUNDS = 24


class Stock:
    """Every combination of a few upper storeys, more ground floors and three widths.

    The upper storeys fill most of a photo and repeat all over the town; what tells one place from another is its ground
    floors, and which fronts stand side by side.

    Args:
        rng: source of the designs.

    Attributes:
        fronts: the fronts; the last one is a blank wall.
        blank: index of the blank wall.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        uppers = [UpperStyle.draw(rng) for _ in range(UPPERS)]
        grounds = [GroundStyle.draw(rng, number) for number in range(GROUNDS)]
        self.fronts: list[Facade] = [
            draw_facade(upper, ground, width, rng) for width in WIDTHS for upper in uppers for ground in grounds
        ]
        self.blank = len(self.fronts)
        wall = Canvas(12, 10)
        wall.box((0, wall.width), (0, wall.height), (0.50, 0.42, 0.36))
        self.fronts.append(wall.weathered(rng))

    def draw(self, rng: np.random.Generator, width: int | None = None) -> int:
        """Draws the index of a front, of the given width in metres where there is one, never of the blank wall."""
        place = int(rng.integers(len(WIDTHS))) if width is None else WIDTHS.index(width)
        return place * UPPERS * GROUNDS + int(rng.integers(UPPERS * GROUNDS))
