"""Designs of house fronts: a small stock of them, whose members stand in many streets."""

from dataclasses import dataclass

import numpy as np

from keras_sare.datasets.town.canvas import SIGN, TEXELS, Canvas, Colour, Facade

GROUND_FLOOR = 3.6
STOREY = 3.0
GLASS: Colour = (0.20, 0.25, 0.32)
STONE: Colour = (0.85, 0.83, 0.78)
IRON: Colour = (0.12, 0.12, 0.13)
WALLS: tuple[Colour, ...] = (
    (0.72, 0.45, 0.35),
    (0.80, 0.72, 0.58),
    (0.62, 0.60, 0.56),
    (0.78, 0.66, 0.40),
    (0.58, 0.66, 0.68),
    (0.80, 0.78, 0.74),
)
TRIMS: tuple[Colour, ...] = ((0.88, 0.86, 0.80), (0.35, 0.28, 0.24), (0.55, 0.25, 0.20))
SHOPS: tuple[Colour, ...] = (
    (0.70, 0.12, 0.12),
    (0.10, 0.32, 0.60),
    (0.08, 0.42, 0.22),
    (0.85, 0.65, 0.10),
    (0.45, 0.15, 0.45),
    (0.12, 0.12, 0.14),
    (0.85, 0.40, 0.10),
    (0.85, 0.84, 0.80),
)
KINDS = ("shop", "awning", "shop", "house", "arcade")


@dataclass(frozen=True)
class UpperStyle:
    """The storeys above the ground floor in one design; lengths in metres."""

    wall: Colour
    trim: Colour
    storeys: int
    bay: float
    window: tuple[float, float]
    courses: float
    feature: str

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "UpperStyle":
        """Draws a design at random."""
        return cls(
            wall=WALLS[rng.integers(len(WALLS))],
            trim=TRIMS[rng.integers(len(TRIMS))],
            storeys=int(rng.integers(1, 4)),
            bay=float(rng.choice([1.6, 2.0, 2.6])),
            window=(float(rng.uniform(0.45, 0.7)), float(rng.uniform(1.2, 1.9))),
            courses=float(rng.choice([0.0, 0.25, 0.5])),
            feature=str(rng.choice(["plain", "balcony", "shutters", "bands", "pediments"])),
        )


@dataclass(frozen=True)
class GroundStyle:
    """One ground floor: a shop, a dwelling or an arcade, with its colour and the letters of its sign."""

    kind: str
    colour: Colour
    glyphs: np.ndarray
    door: float

    @classmethod
    def draw(cls, rng: np.random.Generator, number: int) -> "GroundStyle":
        """Draws a ground floor; kind and colour follow `number`, so that a stock holds no two alike."""
        return cls(
            kind=KINDS[number % len(KINDS)],
            colour=SHOPS[number % len(SHOPS)],
            glyphs=rng.random((3, 24)) < 0.6,
            door=float(rng.uniform(0.1, 0.8)),
        )


def draw_facade(upper: UpperStyle, ground: GroundStyle, width: float, rng: np.random.Generator) -> Facade:
    """Paints the front that joins `upper` and `ground` on a plot `width` metres wide."""
    height = GROUND_FLOOR + STOREY * upper.storeys + 0.6
    canvas = Canvas(width, height)
    canvas.box((0, width), (0, height), upper.wall)
    if upper.courses:
        for level in np.arange(0, height, upper.courses):
            canvas.box((0, width), (level, level + 1 / TEXELS), _shaded(upper.wall, 0.88))
    _storeys(canvas, upper)
    canvas.box((0, width), (height - 0.6, height - 0.25), upper.trim)
    canvas.box((0, width), (height - 0.25, height), (0.30, 0.24, 0.22))
    {"house": _dwelling, "arcade": _arcade}.get(ground.kind, _shop)(canvas, ground)
    return canvas.weathered(rng)


def _shaded(colour: Colour, factor: float) -> Colour:
    red, green, blue = colour
    return factor * red, factor * green, factor * blue


def _storeys(canvas: Canvas, style: UpperStyle) -> None:
    bays = max(int(canvas.width / style.bay), 1)
    for storey in range(style.storeys):
        floor = GROUND_FLOOR + STOREY * storey
        if style.feature == "bands":
            canvas.box((0, canvas.width), (floor, floor + 0.3), style.trim)
        for bay in range(bays):
            # The numbers below 16 belong to the ground floor.
            _window(canvas, style, (bay + 0.5) * canvas.width / bays, floor + 0.8, 16 + storey * bays + bay)
        if style.feature == "balcony" and storey % 2 == 0:
            _balcony(canvas, floor)


def _window(canvas: Canvas, style: UpperStyle, centre: float, sill: float, number: int) -> None:
    half = style.window[0] * style.bay / 2
    top = sill + style.window[1]
    if style.feature == "shutters":
        canvas.box((centre - 1.6 * half, centre + 1.6 * half), (sill, top), style.trim)
    canvas.box((centre - half - 0.12, centre + half + 0.12), (sill - 0.12, top + 0.12), style.trim)
    canvas.box((centre - half, centre + half), (sill, top), GLASS, number)
    canvas.box((centre - 0.05, centre + 0.05), (sill, top), style.trim)
    if style.feature == "pediments":
        canvas.box((centre - half - 0.25, centre + half + 0.25), (top + 0.12, top + 0.35), style.trim)


def _balcony(canvas: Canvas, floor: float) -> None:
    left = 0.5
    right = canvas.width - 0.5
    canvas.box((left, right), (floor + 0.2, floor + 0.35), (0.50, 0.48, 0.45))
    for post in np.arange(left, right, 0.25):
        canvas.box((post, post + 0.09), (floor + 0.3, floor + 1.2), IRON)
    canvas.box((left, right), (floor + 1.1, floor + 1.25), IRON)


def _shop(canvas: Canvas, style: GroundStyle) -> None:
    width = canvas.width
    door = 0.4 + style.door * (width - 1.8)
    canvas.box((0, width), (0, 2.7), _shaded(style.colour, 0.6))
    canvas.box((0.3, width - 0.3), (0.6, 2.5), (0.34, 0.36, 0.36), 1)
    canvas.box((door, door + 1.0), (0, 2.4), _shaded(style.colour, 0.8))
    canvas.box((door + 0.15, door + 0.85), (0.9, 2.2), GLASS, 1)
    _sign(canvas, style)
    if style.kind == "awning":
        for number, left in enumerate(np.arange(0.2, width - 0.2, 0.5)):
            canvas.box((left, left + 0.5), (2.0, 2.75), style.colour if number % 2 else STONE)


def _sign(canvas: Canvas, style: GroundStyle) -> None:
    canvas.box((0.1, canvas.width - 0.1), (2.75, 3.55), style.colour, SIGN)
    letters = (0.10, 0.10, 0.12) if sum(style.colour) > 1.3 else (0.92, 0.88, 0.70)
    size = 0.2
    columns = int((canvas.width - 1) / size)
    for row, column in zip(*np.nonzero(style.glyphs[:, :columns]), strict=True):
        if column % 4 < 3:
            left = 0.5 + column * size
            bottom = 2.85 + row * size
            canvas.box((left, left + size), (bottom, bottom + size), letters, SIGN)


def _dwelling(canvas: Canvas, style: GroundStyle) -> None:
    for number, centre in enumerate(np.arange(1.0, canvas.width - 0.6, 2.0)):
        door = number % 3 == 1
        canvas.box((centre - 0.6, centre + 0.6), (0 if door else 0.9, 2.6), STONE)
        if door:
            canvas.box((centre - 0.45, centre + 0.45), (0, 2.4), style.colour)
        else:
            canvas.box((centre - 0.5, centre + 0.5), (1.0, 2.5), GLASS, number + 1)


def _arcade(canvas: Canvas, style: GroundStyle) -> None:
    dark = (0.14, 0.13, 0.13)
    canvas.box((0, canvas.width), (0, GROUND_FLOOR), (0.74, 0.70, 0.62))
    for left in np.arange(0.3, canvas.width - 1.2, 2.0):
        canvas.box((left, left + 1.5), (0, 2.3), dark, 1)
        canvas.box((left + 0.2, left + 1.3), (2.3, 2.65), dark)
        canvas.box((left + 0.45, left + 1.05), (2.65, 2.85), dark)
    canvas.box((0, canvas.width), (3.1, 3.4), style.colour)
