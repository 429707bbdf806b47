import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from keras_sare.evaluation.plots.pictures import COLOURS, NEUTRAL
from keras_sare.evaluation.plots.split_map import draw_splits

EAST = np.array([[695000.0, 5711000.0], [695100.0, 5711000.0]])


def groups(offset):
    return {
        "train": {"database": EAST, "queries": EAST + [50, 3]},
        "val": {"database": EAST + [0, 300], "queries": EAST[:0]},
        "test": {"database": EAST + [offset, 150], "queries": EAST + [offset, 170]},
    }


def drawn(path):
    """Colours of the picture, as text for messages."""
    with Image.open(path) as picture:
        return picture.size, {tuple(colour) for colour in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}


@pytest.mark.parametrize(("offset", "wide"), [(0, False), (3000, True)])
def test_every_split_has_its_colour_and_the_picture_the_shape_of_the_ground(tmp_path, offset, wide):
    draw_splits(tmp_path / "map.png", groups(offset), np.array([[695020.0, 5711100.0], [0.0, 0.0]]))
    (width, height), colours = drawn(tmp_path / "map.png")
    assert (width > 1.5 * height) == wide
    dark = [tuple(round(255 * 0.55 * value) for value in to_rgb(COLOURS[number])) for number in (1, 0)]
    grey = tuple(round(255 * value) for value in to_rgb(NEUTRAL))
    for wanted in (*dark, grey):
        assert any(max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) <= 3 for colour in colours)


def test_a_map_in_degrees_of_one_place_is_drawn(tmp_path):
    one = {"test": {"database": np.array([[11.5, 48.1]]), "queries": np.array([[11.5, 48.1]])}}
    draw_splits(tmp_path / "map.png", one, np.zeros((0, 2)), "degrees")
    assert drawn(tmp_path / "map.png")[0][0] > 300
