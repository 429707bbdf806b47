import itertools
import sys

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.sfm.sfm_colmap import ColmapModel
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.evaluation.plots.sfm_picture import draw_from_above, draw_models


@pytest.fixture
def photos(tmp_path):
    """Models 0 (two photos) and 2 (one photo) of one cluster, model 1 (three photos) of another; all of one colour."""
    models = [0, 0, 1, 1, 1, 2]
    colours = {0: (255, 0, 0), 1: (0, 160, 0), 2: (0, 0, 255)}
    paths = []
    for i, model in enumerate(models):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("RGB", (80, 60), colours[model]).save(paths[-1])
    return SfMDataset("street", paths, models, [0, 0, 1, 1, 1, 0])


def colours_of_rows(path, left=40):
    """Colours down a line through the first photo of each row, each once."""
    column = np.asarray(Image.open(path).convert("RGB"))[:, left]
    strong = [tuple(pixel) for pixel in column.tolist() if sorted(pixel)[1] < 10]
    return [colour for i, colour in enumerate(strong) if colour != (0, 0, 0) and colour not in strong[:i]]


def test_models_of_a_cluster_come_below_each_other_the_largest_cluster_first(photos, tmp_path):
    draw_models(tmp_path / "sheet.png", photos, {0: 10, 1: 20, 2: 30})
    assert colours_of_rows(tmp_path / "sheet.png") == [(0, 160, 0), (255, 0, 0), (0, 0, 255)]


def test_only_the_models_with_most_photos_are_drawn_where_there_are_many(photos, tmp_path):
    draw_models(tmp_path / "sheet.png", photos, {}, rows=2, columns=1)
    assert colours_of_rows(tmp_path / "sheet.png") == [(0, 160, 0), (255, 0, 0)]


def test_of_thousands_of_models_only_those_that_are_drawn_take_steps_of_their_own(tmp_path):
    Image.new("RGB", (8, 6), (255, 0, 0)).save(tmp_path / "photo.png")
    models = np.arange(30000)
    dataset = SfMDataset("town", [str(tmp_path / "photo.png")] * len(models), models, models // 3)
    calls = itertools.count()
    sys.setprofile(lambda *_: next(calls))
    try:
        draw_models(tmp_path / "sheet.png", dataset, {}, rows=2, columns=1)
    finally:
        sys.setprofile(None)
    assert next(calls) < len(models) / 2


def test_a_bar_joins_the_models_of_a_cluster_that_has_several(photos, tmp_path):
    draw_models(tmp_path / "sheet.png", photos, {})
    bars = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))[:, 1]
    rows = np.flatnonzero((bars != 255).any(axis=1))
    height = (len(bars) - 6) // 3
    # The first row is of a cluster of one model.
    assert rows.min() >= height
    assert len(rows) > 1.9 * height


def make_model(number, seed):
    random = np.random.RandomState(seed)
    empty = np.empty(0, np.int64)
    names = np.array(["a", "b"], np.dtypes.StringDType())
    rotations = np.stack([np.eye(3)] * 2)
    return ColmapModel(number, names, random.randn(2, 3), rotations, random.randn(50, 3), empty, empty, empty)


def test_models_are_drawn_from_above(tmp_path):
    draw_from_above(tmp_path / "above.png", [make_model(number, number) for number in range(4)])
    picture = np.asarray(Image.open(tmp_path / "above.png").convert("RGB")).reshape(-1, 3)
    # Camera centres are blue, of which there are two in each of four panels.
    assert (np.abs(picture - np.array([0, 0x72, 0xB2])).max(axis=1) < 8).sum() > 8 * 20
    assert picture.shape[0] > 1000 * 1000


def test_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`models` must have at least one model"):
        draw_from_above(tmp_path / "above.png", [])
