"""The texture of one house front, and the brush that paints it."""

from dataclasses import dataclass

import numpy as np

TEXELS = 12
"""Texture pixels in a metre."""
TALLEST = 14
"""Height in metres that no front exceeds."""
SIGN = 255
"""Window number of a shop sign."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Facade:
    """One house front.

    Attributes:
        albedo: uint8 [TALLEST * TEXELS, width * TEXELS, 3], row 0 at the pavement, black above the roof.
        windows: uint8 [TALLEST * TEXELS, width * TEXELS]: 0 is masonry, 1 to 254 the number of a window, which lights
            up as one, `SIGN` a shop sign.
        width: metres.
        height: metres.
    """

    albedo: np.ndarray
    windows: np.ndarray
    width: float
    height: float


class Canvas:
    """A front being painted.

    Args:
        width: metres.
        height: metres, at most `TALLEST`.
    """

    def __init__(self, width: float, height: float) -> None:
        shape = (TALLEST * TEXELS, round(width * TEXELS))
        self.width = width
        self.height = height
        self._albedo = np.zeros((*shape, 3), np.float32)
        self._windows = np.zeros(shape, np.uint8)

    def box(self, sides: tuple[float, float], levels: tuple[float, float], colour: Colour, window: int = 0) -> None:
        """Paints a rectangle.

        Args:
            sides: left and right side in metres; what sticks out of the front is cut off.
            levels: bottom and top in metres.
            colour: linear RGB reflectance, 0 to 1.
            window: number of the window that it is, 0 for masonry.
        """
        rows, columns = (
            slice(*(max(round(min(edge, limit) * TEXELS), 0) for edge in edges))
            for edges, limit in ((levels, self.height), (sides, self.width))
        )
        self._albedo[rows, columns] = colour
        self._windows[rows, columns] = window

    def weathered(self, rng: np.random.Generator) -> Facade:
        """Returns the front with stains."""
        stains = rng.normal(0, 0.03, self._windows.shape)[..., None]
        albedo = np.clip(self._albedo * (1 + stains), 0, 1)
        return Facade((albedo * 255).astype(np.uint8), self._windows, self.width, self.height)
