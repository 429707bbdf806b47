"""Flat pictures that stand in the street: trees, lamp posts, cars, vans, market stalls and people."""

from dataclasses import dataclass

import numpy as np

SIZES = {
    "tree": (4.0, 6.5),
    "lamp": (0.5, 5.0),
    "car": (4.2, 1.5),
    "van": (5.0, 2.2),
    "stall": (3.2, 2.6),
    "person": (0.7, 1.75),
}
"""Width and height of each kind in metres."""
VARIANTS = 4
"""Number of pictures of each kind."""


@dataclass(frozen=True)
class Billboard:
    """One upright picture that always faces the camera.

    Attributes:
        kind: a key of `SIZES`.
        along: metres along the street.
        across: metres from the middle of the street.
        paint: float [3], colour of the paintwork or the coat.
        scale: factor on the size of its kind.
        variant: which of the `VARIANTS` pictures of its kind.
    """

    kind: str
    along: float
    across: float
    paint: np.ndarray
    scale: float
    variant: int

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in metres."""
        width, height = SIZES[self.kind]
        return width * self.scale, height * self.scale


def draw_sprite(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a picture of a kind.

    Args:
        kind: a key of `SIZES`.
        rng: source of leaves, adverts and goods.

    Returns:
        The reflectance float [height, width, 3], row 0 at the bottom and NaN where the billboard's paint shows, and
        what the picture covers, bool [height, width].
    """
    return _DRAWERS[kind](rng)


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    z, x = np.mgrid[0:height, 0:width]
    return np.zeros((height, width, 3)), (x + 0.5) / width, (z + 0.5) / height


def _patches(shape: tuple[int, int], texels: tuple[int, int], colours: np.ndarray) -> np.ndarray:
    return np.kron(colours, np.ones((*texels, 1)))[: shape[0], : shape[1]]


def _tree(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    colour, x, z = _grid(78, 48)
    trunk = (abs(x - 0.5) < 0.04) & (z < 0.55)
    crown = np.zeros(x.shape, bool)
    for _ in range(14):
        centre_x = 0.5 + rng.normal(0, 0.16)
        centre_z = 0.68 + rng.normal(0, 0.1)
        crown |= ((x - centre_x) / 0.17) ** 2 + ((z - centre_z) / 0.11) ** 2 < 1
    crown &= rng.random(crown.shape) < 0.92
    leaves = rng.uniform(0.6, 1.2, crown.shape)[..., None] * np.array([0.14, 0.26, 0.08])
    colour[trunk] = (0.20, 0.14, 0.09)
    colour[crown] = leaves[crown]
    return colour, trunk | crown


def _lamp(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    colour, x, z = _grid(60, 6)
    head = z > 0.93
    colour[:] = 0.08
    colour[head] = (1.0, 0.95, 0.8)
    return colour, (abs(x - 0.5) < 0.17) | head


def _car(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    colour, x, z = _grid(24, 64)
    body = (z > 0.18) & (z < 0.62)
    cabin = (z >= 0.6) & (abs(x - 0.5) < 0.33 - 0.3 * (z - 0.6))
    dark = (np.minimum((x - 0.2) ** 2, (x - 0.8) ** 2) * 7.8 + (z - 0.2) ** 2 < 0.035) | (z < 0.12)
    colour[body | cabin] = np.nan
    colour[cabin & (z < 0.92) & (abs(x - 0.5) > 0.02)] = (0.08, 0.10, 0.12)
    colour[dark] = 0.03
    return colour, body | cabin | dark


def _van(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    colour, x, z = _grid(36, 76)
    body = (z > 0.14) & (x < 0.98 - 0.22 * np.maximum(z - 0.5, 0))
    dark = (np.minimum((x - 0.2) ** 2, (x - 0.8) ** 2) * 4.5 + (z - 0.15) ** 2 < 0.02) | (z < 0.09)
    advert = (x > 0.06) & (x < 0.68) & (z > 0.3) & (z < 0.9)
    two_inks = rng.uniform(0, 1, (2, 3))
    colour[body] = np.nan
    colour[advert] = _patches(x.shape, (8, 8), two_inks[rng.integers(0, 2, (5, 10))])[advert]
    colour[(z > 0.55) & (z < 0.88) & (x > 0.74) & (x < 0.9)] = (0.08, 0.10, 0.12)
    colour[dark] = 0.03
    return colour, body | dark


def _stall(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    colour, x, z = _grid(36, 44)
    roof = (z > 0.72) & (abs(x - 0.5) < 0.75 - 0.35 * z)
    counter = (z < 0.4) & (abs(x - 0.5) < 0.46)
    goods = (z >= 0.4) & (z < 0.5) & (abs(x - 0.5) < 0.44)
    posts = (abs(abs(x - 0.5) - 0.44) < 0.02) & (z < 0.75)
    colour[roof] = np.where((x * 10 % 2 < 1)[..., None], rng.uniform(0, 1, 3), 0.8)[roof]
    colour[counter] = rng.uniform(0.1, 0.5, 3)
    colour[goods] = _patches(x.shape, (3, 4), rng.random((12, 11, 3)))[goods]
    return colour, roof | counter | goods | posts


def _person(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    colour, x, z = _grid(30, 12)
    legs = (z < 0.48) & (abs(abs(x - 0.5) - 0.14) < 0.1)
    coat = (z >= 0.44) & (z < 0.84) & (abs(x - 0.5) < 0.36)
    head = ((x - 0.5) / 0.2) ** 2 + ((z - 0.92) / 0.08) ** 2 < 1
    colour[coat] = np.nan
    colour[legs] = (0.06, 0.06, 0.10)
    colour[head] = (0.50, 0.36, 0.28)
    return colour, legs | coat | head


_DRAWERS = {"tree": _tree, "lamp": _lamp, "car": _car, "van": _van, "stall": _stall, "person": _person}
