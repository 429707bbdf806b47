import numpy as np
from PIL import Image

from keras_sare.evaluation.comparisons.grid_runs import OFF_THE_SHELF, GridRun, MeasuredRanks
from keras_sare.evaluation.plots.forest_plot import draw_forest

VERMILION = (0xD5, 0x5E, 0x00)
BLUE = (0x00, 0x72, 0xB2)


def run(combination, seed, models, tables=("val",)):
    rng = np.random.default_rng(seed)
    ranks = {model: rng.integers(0, 3, 50) for model in (OFF_THE_SHELF, *models)}
    measured = {table: MeasuredRanks(table, "town", "within 25 m", 80, (1, 5), ranks) for table in tables}
    return GridRun(combination, seed, 5, 3, measured=measured)


def drawn(path, runs):
    draw_forest(path, runs, "loss=triplet")
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def count(pixels, colour):
    return int((pixels == colour).all(-1).sum())


def test_each_model_has_its_colour_and_each_table_its_panel(tmp_path):
    one = drawn(
        tmp_path / "a.png", [run(f"loss={name}", seed, ["trained"]) for name in ("triplet", "x") for seed in (0, 1)]
    )
    assert count(one, VERMILION)
    assert not count(one, BLUE)
    two = drawn(tmp_path / "b.png", [run("loss=triplet", 0, ["trained", "whitened"], ("val", "tower"))])
    assert count(two, BLUE)
    assert two.shape[1] > 1.4 * one.shape[1]


def test_a_row_is_added_for_each_combination(tmp_path):
    heights = [
        drawn(tmp_path / f"{n}.png", [run(f"loss={i}", 0, ["trained"]) for i in range(n)]).shape[0] for n in (2, 6)
    ]
    assert heights[1] > heights[0] + 200
