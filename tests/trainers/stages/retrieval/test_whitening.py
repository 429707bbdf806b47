import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import SfMDataset
from keras_sare.distribution import Workers
from keras_sare.evaluation import ComparisonSettings
from keras_sare.extraction import cached_descriptors as cached_descriptors
from keras_sare.extraction.array_cache import ArrayCache
from keras_sare.extraction.inputs import ImageInputs
from keras_sare.training import MeanAveragePrecisionValidation, RunFolder, SfMPhotos, SfMSettings
from trainers.stages.retrieval.photos import load_models
from trainers.stages.retrieval.whitening import RetrievalWhitening
from trainers.stages.run import Run

DIM = 6
BUILDINGS = 40
VIEWS = 4
NOISE_IS_SMALL = (1.0, 0.1)
NOISE_IS_LARGE = (0.1, 0.6)
"""Scales of what tells buildings, in six directions, and of noise in six others."""

TOO_FEW = 2
"""Dimensions of a whitening that loses more than it brings out."""


def pointing_model(first):
    """Gives the directions from `first` on, normalised."""
    inputs = keras.Input((18,), name="photos")
    cropped = keras.layers.Cropping1D((first, 6 - first), name="crop")(
        keras.layers.Reshape((18, 1), name="rows")(inputs)
    )
    return keras.Model(inputs, keras.layers.UnitNormalization(name="norm")(keras.layers.Flatten(name="flat")(cropped)))


def photos(name, seed):
    """Photos of which each shares points with the others of its building."""
    images = np.arange(BUILDINGS * VIEWS)
    return SfMDataset(
        name,
        np.array([f"{seed}/{image}" for image in images]),
        models=images // VIEWS,
        clusters=images // VIEWS,
        centres=np.stack([images % VIEWS, 0 * images, 0 * images], axis=1).astype(float),
        point_starts=2 * np.arange(len(images) + 1),
        points=np.repeat(images // VIEWS, 2) * 2 + np.tile([0, 1], len(images)),
        scales=np.ones(2 * len(images), np.float32),
    )


def vectors(seed, scales):
    """Noise alone in the first six numbers; then what tells the buildings, and other noise, both scaled."""
    rng = np.random.default_rng(seed)
    told = rng.normal(size=(BUILDINGS, 1, 6)) + 0.3 * rng.normal(size=(BUILDINGS, VIEWS, 6))
    noise = rng.normal(size=(2, BUILDINGS, VIEWS, 6))
    return np.concatenate([3 * noise[0], scales[0] * told, scales[1] * noise[1]], axis=2).reshape(-1, 18)


@pytest.fixture
def make_stage(tmp_path, monkeypatch):
    strategy = tf.distribute.get_strategy()
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.save_model(pointing_model(0), folder.off_the_shelf)
    run = Run(None, SfMSettings(), strategy, Workers(strategy), folder)

    def make(scales=NOISE_IS_LARGE, mode="auto", dim=DIM):
        def describe(model, paths, *_, **__):
            rows = {seed: vectors(seed, scales) for seed in (0, 1)}
            chosen = [rows[int(seed)][int(image)] for seed, image in (path.split("/") for path in paths)]
            return model(np.array(chosen, np.float32)).numpy()

        monkeypatch.setattr(cached_descriptors, "extract_images", describe)
        val = photos("val", 1)
        validation = MeanAveragePrecisionValidation(
            SfMPhotos(val, ImageInputs(val.paths, (8, 8)), run.settings, tmp_path)
        )
        kept = ArrayCache(folder.path)
        return RetrievalWhitening(run, photos("train", 0), validation, kept, ComparisonSettings(), mode, dim)

    return make


def finish(stage, epoch=3):
    keras.utils.clear_session()  # Models are told apart by their layers' names too.
    return stage.finish(pointing_model(0), pointing_model(6), epoch), stage.run.folder


@pytest.mark.parametrize(("scales", "dim", "wins"), [(NOISE_IS_SMALL, TOO_FEW, 0), (NOISE_IS_LARGE, DIM, 1)])
def test_model_with_the_higher_map_is_saved_and_the_verdict_compares_all_three(make_stage, scales, dim, wins):
    text, folder = finish(make_stage(scales, dim=dim))
    plain = "fine-tuned"
    whitened = f"fine-tuned, whitened to {dim}-D"
    saved = (plain, whitened)[wins]
    measured = {name: report["mean_average_precision"] for name, report in folder.choice.validation.items()}
    assert list(measured) == ["off the shelf", plain, whitened]
    assert max(measured, key=measured.get) == saved
    assert abs(measured[plain] - measured[whitened]) > 0.05
    assert folder.choice.saved == saved
    assert folder.choice.files[saved] == "model.keras"
    why = f"mAP on val is {measured[whitened]:.3f} with whitening and {measured[plain]:.3f} without"
    assert text.endswith(f"Saved as model.keras: **{saved}** ({why}).")
    assert f"Verdict: best is **{saved}**, mAP {measured[saved]:.3f}" in text
    stored = json.loads((folder.path / "validation.json").read_text())
    assert stored["verdict"]["values"] == pytest.approx(measured)
    assert stored["verdict"]["against"]["off the shelf"]["beyond_chance"]
    assert folder.load_model().output.shape == (None, (12, dim)[wins])
    assert load_models(folder)["fine-tuned"].output.shape == (None, 12)


def test_whitening_that_is_asked_for_is_saved_however_bad_it_is_and_the_verdict_says_so(make_stage):
    text, folder = finish(make_stage(NOISE_IS_SMALL, "learned", TOO_FEW))
    assert folder.choice.saved == f"fine-tuned, whitened to {TOO_FEW}-D"
    assert "(--whitening=learned). On these queries **fine-tuned** is better by" in text
    assert load_models(folder)["fine-tuned"].output.shape == (None, 12)


def test_without_whitening_none_is_learned(make_stage):
    stage = dataclasses.replace(make_stage(mode="none"), train=None)
    text, folder = finish(stage)
    assert (folder.choice.saved, folder.choice.reason) == ("fine-tuned", "--whitening=none")
    assert "whitened to" not in text


def test_model_before_training_is_not_called_fine_tuned_nor_compared_with_itself(make_stage):
    text, folder = finish(make_stage(), epoch=0)
    assert list(folder.choice.validation) == ["untrained (epoch 0)", f"untrained (epoch 0), whitened to {DIM}-D"]
    assert "fine-tuned" not in text


def test_resumed_run_computes_nothing_anew_but_what_changed(make_stage, monkeypatch):
    text, folder = finish(make_stage())
    before = folder.model.stat().st_mtime_ns
    stage = make_stage()
    monkeypatch.setattr(cached_descriptors, "extract_images", None)
    stage.kept.clear()
    assert finish(stage)[0] == text
    assert folder.model.stat().st_mtime_ns == before
    finish(make_stage(dim=3))
    assert folder.load_model().output.shape == (None, 3)
    (folder.path / "validation.md").unlink()
    assert finish(make_stage(dim=3))[0].startswith("| val;")
