"""The README's Python code runs as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.town.town import render_town
from keras_sare.models import build, save_weights_as

ROOT = Path(__file__).parents[1]


@pytest.fixture
def paths(tmp_path):
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i}.png") for i in range(3)]


@pytest.fixture
def town(tmp_path):
    return render_town(tmp_path / "town", 0, (30, 40), train_places=2, val_places=2, test_places=3)


@pytest.fixture
def foreign_weights(tmp_path, monkeypatch):
    """The file of OpenIBL that the README reads from the current folder."""
    monkeypatch.chdir(tmp_path)
    model = build("vgg16_netvlad", weights=None, preprocessing="caffe", clusters=2, options={"normalization": "torch"})
    save_weights_as(model, "vgg16_netvlad.pth", "openibl")


@pytest.mark.usefixtures("foreign_weights")
def test_python_of_the_readme_runs(paths, town):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 5
    names = {"paths": paths, "root": town}
    for block in blocks:
        exec(block, names)
    assert 0 <= names["report"].at(1) <= names["report"].at(5) <= 1
    assert names["predictions"].shape == (9, 5)
    assert names["descriptors"].shape == (3, 32768)
    np.testing.assert_allclose(np.linalg.norm(names["descriptors"], axis=1), 1, rtol=1e-5)
    assert names["loss"].mode == "independent"
    assert names["model"].output.shape == (None, 2 * 512)
    assert Path("vgg16_netvlad.mat").is_file()
