"""Photos of scenes that structure from motion can reconstruct, drawn in milliseconds."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

FOCAL_LENGTH = 384
DEPTHS = (10, 7, 5)
SIZE = (320, 240)


def draw_scene(folder, seed, positions):
    """Draws three textured walls at different depths, each filling a third of the picture's height.

    Args:
        folder: where the files seed_0.png, seed_1.png, ... go; made where it does not exist.
        seed: of the textures: other seeds have nothing in common.
        positions: of the camera, which moves to the right and looks ahead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width, height = SIZE
    walls = [_texture(seed * len(DEPTHS) + i, (height, 3 * width)) for i in range(len(DEPTHS))]
    wall_of_row = np.arange(height) * len(DEPTHS) // height
    for number, position in enumerate(positions):
        picture = np.zeros((height, width), np.uint8)
        for i, depth in enumerate(DEPTHS):
            left = round(FOCAL_LENGTH * position / depth)
            picture[wall_of_row == i] = walls[i][wall_of_row == i, left : left + width]
        Image.fromarray(picture).save(folder / f"{seed}_{number}.png")


def _texture(seed, shape):
    noise = np.random.RandomState(seed).randn(*shape)
    texture = gaussian_filter(noise, 1.5) + 2 * gaussian_filter(noise, 4)
    return (255 * (texture - texture.min()) / np.ptp(texture)).astype(np.uint8)
