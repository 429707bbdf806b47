import json
import shutil

import pytest

from keras_sare.datasets import set_max_pixels
from trainers import evaluate, pitts
from trainers.config import EvaluateConfig, PittsConfig


@pytest.fixture(scope="module")
def finished(town, small_start, tmp_path_factory, undrawn):
    """A run that only measured its start."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    start = {"weights": str(small_start), "train_from": "conv2", "image_size": (32, 48), "dim": 8, "negatives": 2}
    with undrawn():
        pitts.run(PittsConfig(root=str(town), output=str(folder), epochs=0, whitening="none", **start))
    return folder


def test_finished_model_is_measured_as_its_own_run_did(finished, town, tmp_path):
    shutil.copy(finished / "off_the_shelf.keras", tmp_path / "before.keras")
    models = (str(tmp_path / "before.keras"), str(finished))
    text = evaluate.run(EvaluateConfig(models=models, root=str(town), output=str(tmp_path / "out")))
    assert text == (tmp_path / "out" / "recall.md").read_text().rstrip()
    measured, own = (json.loads((folder / "recall.json").read_text()) for folder in (tmp_path / "out", finished))
    assert list(measured) == ["before", "run"]
    assert measured["run"]["recalls"] == own["untrained (epoch 0)"]["recalls"] == measured["before"]["recalls"]
    assert (tmp_path / "out" / "matches.png").stat().st_size > 100


def test_limit_on_pixels_reaches_every_reader_of_the_program(finished, town, tmp_path):
    settings = {"models": (str(finished),), "root": str(town), "output": str(tmp_path / "out")}
    try:
        with pytest.raises(ValueError, match=r"too large: declares 48 x 32 pixels, at most 1535 are read"):
            evaluate.run(EvaluateConfig(**settings, max_pixels=32 * 48 - 1))
    finally:
        set_max_pixels(None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"split": "street"}, "`split` must be one that .* has: "),
        ({"image_size": ("9", "x")}, "`image_size` must be height,width in pixels, or one number that limits"),
        ({"models": (), "image_size": ("9",)}, "`models` must be given"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_written(finished, town, tmp_path, changed, message):
    settings = {"models": (str(finished),), "root": str(town), "output": str(tmp_path / "out"), **changed}
    with pytest.raises(ValueError, match=message):
        evaluate.run(EvaluateConfig(**settings))
    assert not (tmp_path / "out").exists()
