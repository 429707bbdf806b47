"""A column ray caster: the ground, the sky, one wall in each column, then upright pictures."""

import numpy as np

from keras_sare.datasets.town.billboards import SIZES, VARIANTS, Billboard, draw_sprite
from keras_sare.datasets.town.camera import EYE, Camera, View
from keras_sare.datasets.town.canvas import SIGN, TEXELS, Facade
from keras_sare.datasets.town.lighting import Lighting
from keras_sare.datasets.town.streets import LAMP_SPACING, ROAD
from keras_sare.datasets.town.walls import Walls, cast

SUPERSAMPLING = 2
GAMMA = 2.2
NEAREST = 2.0
"""Metres within which a car or a passer-by is not drawn, lest it hide the whole street."""
LAMPLIGHT = np.array([1.0, 0.72, 0.38])
_LINEAR = np.linspace(0, 1, 256) ** GAMMA


class Renderer:
    """Draws photos of streets.

    Args:
        fronts: the fronts that `Walls.front` counts.
        image_size: height and width of the photos in pixels.
        rng: source of the pictures of trees, vans and stalls.
    """

    def __init__(self, fronts: list[Facade], image_size: tuple[int, int], rng: np.random.Generator) -> None:
        self.image_size = image_size
        self._albedo = _stack([front.albedo for front in fronts])
        self._windows = _stack([front.windows for front in fronts])
        self._sprites = {kind: [draw_sprite(kind, rng) for _ in range(VARIANTS)] for kind in SIZES}

    def render(
        self, walls: Walls, things: list[Billboard], camera: Camera, light: Lighting, rng: np.random.Generator
    ) -> np.ndarray:
        """Draws one photo.

        Args:
            walls: the houses of the street.
            things: what stands in it.
            camera: the pose of the photo.
            light: its light.
            rng: source of clouds, lit windows and noise.

        Returns:
            uint8 RGB [height, width, 3].
        """
        height, width = (SUPERSAMPLING * side for side in self.image_size)
        view = View(camera, height, width)
        picture = _sky(view, light, rng)
        _paint_ground(picture, view, light)
        hits = cast(walls, view.eye, view.rays)
        self._paint_walls(picture, view, walls, hits, light, rng)
        for thing in _far_to_near(things, view):
            self._paint_thing(picture, view, thing, hits[1], light)
        photo = picture.reshape(self.image_size[0], SUPERSAMPLING, self.image_size[1], SUPERSAMPLING, 3).mean((1, 3))
        developed = np.clip(photo, 0, 1) ** (1 / GAMMA) + rng.normal(0, light.noise, photo.shape)
        return (np.clip(developed, 0, 1) * 255).astype(np.uint8)

    def _paint_walls(
        self,
        picture: np.ndarray,
        view: View,
        walls: Walls,
        hits: tuple[np.ndarray, np.ndarray, np.ndarray],
        light: Lighting,
        rng: np.random.Generator,
    ) -> None:
        hit, depth, offset = hits
        level = EYE - depth * view.drop[:, None]
        rows, columns = np.nonzero((level >= 0) & (level < walls.height[hit]))
        level = level[rows, columns]
        wall = hit[columns]
        texel = walls.front[wall], (level * TEXELS).astype(int), (offset[columns] * TEXELS).astype(int)
        albedo = _LINEAR[self._albedo[texel]]
        window = self._windows[texel]
        along = (view.eye + depth[:, None] * view.rays)[columns, 0]
        colour = albedo * _light_on_walls(along, level, light)
        sign = window == SIGN
        colour[sign] += albedo[sign] * light.signs
        lit = rng.random((len(walls.front), 256)) < light.lit
        glowing = lit[wall, window] & (window > 0) & ~sign
        glow = rng.uniform(0.25, 0.8, (256, 1)) * np.array([1.0, 0.78, 0.45])
        colour[glowing] = glow[window[glowing]] * max(light.lit, 0.2) * 2
        haze = np.clip(depth[columns] / 120, 0, 0.7)[:, None]
        picture[rows, columns] = colour * (1 - haze) + light.horizon * haze

    def _paint_thing(
        self, picture: np.ndarray, view: View, thing: Billboard, depth: np.ndarray, light: Lighting
    ) -> None:
        away = np.array([thing.along, thing.across]) - view.eye
        distance = away @ view.forward
        width, height = thing.size
        x = (view.slope * distance - away @ view.right) / width + 0.5
        z = (EYE - view.drop * distance) / height
        columns = np.nonzero((x >= 0) & (x < 1) & (distance < depth))[0]
        rows = np.nonzero((z >= 0) & (z < 1))[0]
        colour, cover = self._sprites[thing.kind][thing.variant]
        texel = np.ix_((z[rows] * cover.shape[0]).astype(int), (x[columns] * cover.shape[1]).astype(int))
        paint = np.where(np.isnan(colour[texel]), thing.paint, colour[texel])
        brightness = light.ambient + 0.5 * light.sun + _lamps(thing.along, 1.5, light)
        if thing.kind == "lamp":
            brightness = brightness + 3 * light.lamps * (z[rows] > 0.93)[:, None, None]
        patch = np.ix_(rows, columns)
        picture[patch] = np.where(cover[texel][..., None], paint * brightness, picture[patch])


def _stack(textures: list[np.ndarray]) -> np.ndarray:
    widest = max(texture.shape[1] for texture in textures)
    stacked = np.zeros((len(textures), len(textures[0]), widest, *textures[0].shape[2:]), np.uint8)
    for number, texture in enumerate(textures):
        stacked[number, :, : texture.shape[1]] = texture
    return stacked


def _sky(view: View, light: Lighting, rng: np.random.Generator) -> np.ndarray:
    rise = np.clip(-view.drop / 0.8, 0, 1)[:, None, None]
    cells = 5
    coarse = rng.normal(0, 0.6, (cells, cells))
    rows, columns = (np.linspace(0, cells - 1, len(side)) for side in (view.drop, view.slope))
    tall = np.stack([np.interp(rows, np.arange(cells), column) for column in coarse.T])
    left = np.minimum(columns.astype(int), cells - 2)
    part = columns - left
    clouds = np.clip(tall[left].T * (1 - part) + tall[left + 1].T * part, 0, 1)[..., None]
    clear = light.horizon * (1 - rise) + light.sky * rise
    return clear * (1 - clouds) + light.horizon * clouds


def _paint_ground(picture: np.ndarray, view: View, light: Lighting) -> None:
    below = view.drop > EYE / 60
    distance = EYE / view.drop[below][:, None]
    along, across = (view.eye[axis] + distance * view.rays[:, axis] for axis in (0, 1))
    slabs = 0.30 + 0.05 * ((np.floor(along / 0.8) + np.floor(across / 0.8)) % 2)
    shade = np.where(abs(across) < ROAD, 0.13, slabs)
    shade[(abs(across) < 0.08) & (along % 4 < 2)] = 0.6
    shade[abs(abs(across) - ROAD - 0.1) < 0.12] = 0.42
    grain = (np.sin(np.floor(along * 6) * 12.9898 + np.floor(across * 6) * 78.233) * 43758.5453) % 1
    brightness = light.ambient + 0.5 * light.sun * (light.shade < 3) + 0.8 * _lamps(along, 0.0, light)
    picture[below] = (shade * (0.9 + 0.2 * grain))[..., None] * brightness


def _light_on_walls(along: np.ndarray, level: np.ndarray, light: Lighting) -> np.ndarray:
    # The roofs opposite rise and fall every seven metres, and their shade with them.
    skyline = light.shade + 1.5 * np.sin(np.floor(along / 7) * 2.4)
    return light.ambient + (level > skyline)[:, None] * light.sun + _lamps(along, level, light)


def _lamps(along: np.ndarray | float, level: np.ndarray | float, light: Lighting) -> np.ndarray:
    nearest = along - np.round(np.asarray(along) / LAMP_SPACING) * LAMP_SPACING
    pool = np.exp(-(nearest**2) / 30 - (level - 3.5) ** 2 / 14)
    return light.lamps * pool[..., None] * LAMPLIGHT


def _far_to_near(things: list[Billboard], view: View) -> list[Billboard]:
    distances = [np.array([thing.along, thing.across]) @ view.forward - view.eye @ view.forward for thing in things]
    order = np.argsort(distances)[::-1]
    return [things[number] for number in order if distances[number] > NEAREST]
