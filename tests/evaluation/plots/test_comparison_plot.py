from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_sare.evaluation import RecallReport
from keras_sare.evaluation.comparisons.run_comparison import FinishedRun
from keras_sare.evaluation.plots.comparison_plot import draw_comparison

BLUE = (0x00, 0x72, 0xB2)
VERMILION = (0xD5, 0x5E, 0x00)
GREEN = (0x00, 0x9E, 0x73)


def run(kind, seed, models=2, traversals=True):
    recalls = [0.4, 0.5 + 0.02 * seed, 0.45][: models + 1]
    reports = {f"model {i}": RecallReport("recall@N", "town", 40, 0, 80, (1,), (r,)) for i, r in enumerate(recalls)}
    return FinishedRun(kind, seed, reports, reports if traversals else {}, epochs=5, best_epoch=3)


def drawn(path, runs):
    draw_comparison(path, runs)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def count(pixels, colour):
    return int((pixels == colour).all(-1).sum())


def test_each_trained_model_has_its_colour(tmp_path):
    pixels = drawn(tmp_path / "a.png", [run(kind, seed) for kind in ("sare", "triplet") for seed in range(3)])
    assert count(pixels, BLUE)
    assert count(pixels, VERMILION)
    assert not count(pixels, GREEN)


def test_other_traversals_are_a_second_panel(tmp_path):
    one, two = (drawn(tmp_path / f"{n}.png", [run("sare", 0, traversals=n == 2)]) for n in (1, 2))
    assert two.shape[1] > 1.5 * one.shape[1]
    # A bar for the mean in each panel; of the few pixels of its text and its point no count is asked.
    assert count(two, VERMILION) > 1.5 * count(one, VERMILION)


def test_a_model_that_was_only_evaluated_before_training_is_a_line(tmp_path):
    pixels = drawn(tmp_path / "a.png", [run("sare", 0, models=0, traversals=False)])
    assert not count(pixels, BLUE)


def test_a_run_that_kept_the_model_before_training_is_drawn_with_the_others(tmp_path):
    runs = [replace(run("sare", seed, models=1), best_epoch=seed) for seed in range(2)]
    runs = [named(runs[0], "untrained (epoch 0)"), named(runs[1], "trained")]
    pixels = drawn(tmp_path / "a.png", runs)
    assert count(pixels, BLUE)
    assert not count(pixels, VERMILION)


def named(one, kept):
    reports = dict(zip(["off the shelf", kept], one.recall.values(), strict=True))
    return replace(one, recall=reports, other_traversals=reports)


def test_no_runs_are_refused_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="`runs` must hold at least one finished run"):
        draw_comparison(tmp_path / "a.png", [])
    assert list(tmp_path.iterdir()) == []
