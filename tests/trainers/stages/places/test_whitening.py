import dataclasses
import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.distribution import Workers
from keras_sare.extraction import Extractor, StoredInputs
from keras_sare.training import Places, PlaceSettings, RecallValidation, RunFolder
from keras_sare.whitening import fit_pca_whitening, shrunk_variances
from trainers.stages.places.whitening import WhiteningStage
from trainers.stages.run import Run

DIM = 8
TOO_FEW = 3
NOISE_IS_SMALL = (1.0, 0.3, 0.3)
NOISE_IS_LARGE = (0.3, 1.0, 0.03)
"""Scales of what tells places, in six directions, and of noise in two others and in four more."""


def names(dim=DIM, word="whitened"):
    return ["trained", f"trained, {word} to {dim}-D"]


@pytest.fixture
def model():
    inputs = keras.Input((12,))
    return keras.Model(inputs, keras.layers.UnitNormalization()(inputs), name="unit")


@pytest.fixture
def run(tmp_path):
    strategy = tf.distribute.get_strategy()
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    return Run(None, PlaceSettings(select_by=1), strategy, Workers(strategy), folder)


def vectors(name, run, scales, seed, count=80):
    """Places 40 m apart, seen twice: one part of each vector tells the place, the rest is noise, both scaled."""
    rng = np.random.default_rng(seed)
    told = rng.normal(size=(count, 6))
    noise = rng.normal(size=(2, count, 6))
    blurred = told + 0.3 * rng.normal(size=(2, count, 6))
    seen = np.concatenate([scales[0] * blurred, np.repeat(scales[1:], [2, 4]) * noise], axis=2)
    positions = np.stack([40.0 * np.arange(count), np.zeros(count)], axis=1)
    sides = [ImageSet([f"{name}_{role}_{i}" for i in range(count)], positions) for role in ("database", "query")]
    dataset = PlaceDataset(name, sides[0], dataclasses.replace(sides[1], positions=positions + 3.0))
    inputs = StoredInputs(seen.reshape(2 * count, 12).astype("float32"))
    return Places(dataset, inputs, run.settings, run.folder.path / "spill", stored=True)


@pytest.fixture
def make_stage(run):
    """Where what tells places is small beside noise, whitening brings it out; in too few dimensions nothing helps."""

    def make(mode="auto", scales=NOISE_IS_LARGE, dims=(DIM,)):
        places = {name: vectors(name, run, scales, seed) for seed, name in enumerate(("train", "val"))}
        return WhiteningStage(run, places, lambda model: model, mode, dims, np.arange(80))

    return make


def rank_of(path, places):
    extractor = Extractor(keras.saving.load_model(path), tf.distribute.get_strategy())
    return RecallValidation(places).report(*places.extract_all(extractor)).mean_reciprocal_rank


@pytest.mark.parametrize(
    ("scales", "dim", "word", "wins"),
    [(NOISE_IS_SMALL, TOO_FEW, "projected", 0), (NOISE_IS_LARGE, DIM, "whitened", 1)],
)
def test_saved_model_is_the_better_one_by_validation_and_the_other_lies_beside_it(
    make_stage, run, model, scales, dim, word, wins
):
    stage = make_stage(scales=scales, dims=(dim,))
    choice = stage.finish(model, 3)
    saved = names(dim, word)[wins]
    assert (choice.saved, choice.kept_epoch, list(choice.files)) == (saved, 3, names(dim, word))
    ranks = {name: rank_of(run.folder.path / file, stage.places["val"]) for name, file in choice.files.items()}
    assert max(ranks, key=ranks.get) == saved
    assert abs(np.subtract(*ranks.values())) > 0.1
    assert choice.files[saved] == "model.keras"
    why = "mean reciprocal rank on val is {1:.4f} {how} and {0:.4f} as it is"
    assert choice.reason == why.format(*ranks.values(), how=word)
    assert json.loads((run.folder.path / "choice.json").read_text())["saved"] == saved


def reciprocal_ranks(stage, model):
    """Of all queries for each candidate, from its definition, by (word, dimension, share); the most trusted first."""
    extractor = Extractor(model, tf.distribute.get_strategy())
    sample = stage.places["train"].extract(extractor, np.arange(80), "")
    validated = stage.places["val"].extract_all(extractor)
    validation = RecallValidation(stage.places["val"])
    fitted = {centred: fit_pca_whitening(sample, max(stage.dims), centred=centred) for centred in (False, True)}
    ranks = {}
    for dim in stage.dims:
        for word, share in [("projected", 1.0), *(("whitened", share) for share in (1.0, 0.5, 0.25, 0.0))]:
            candidate = shrunk_variances(fitted[word == "whitened"].truncated(dim), share)
            _, ranks[word, dim, share] = validation.report_and_ranks(*(candidate.apply(rows) for rows in validated))
    return ranks


@pytest.mark.parametrize(
    ("scales", "expected", "best"),
    [
        # Whitening is better beyond doubt, and the least shrunk one best of all.
        (NOISE_IS_LARGE, ("whitened", DIM, 0.0), ("whitened", DIM, 0.0)),
        # The best one by a third of a percent, half a standard error, which is luck.
        ((0.6, 0.8, 0.1), ("projected", DIM, 1.0), ("whitened", DIM, 1.0)),
        # By one and a third standard errors.
        ((1.0, 0.3, 0.1), ("whitened", DIM, 1.0), ("whitened", DIM, 1.0)),
    ],
)
def test_what_is_saved_is_the_most_trusted_within_a_standard_error_of_the_best(
    make_stage, run, model, scales, expected, best
):
    stage = make_stage(scales=scales, dims=(DIM, DIM // 2, DIM // 4))
    choice = stage.finish(model, 3)
    ranks = reciprocal_ranks(stage, model)
    assert max(ranks, key=lambda one: ranks[one].mean()) == best
    behind = {one: ranks[best] - mine for one, mine in ranks.items()}
    close = [one for one, by in behind.items() if by.mean() <= by.std(ddof=1) / np.sqrt(len(by))]
    assert close[0] == expected
    reduced = run.folder.path / choice.files[f"trained, {expected[0]} to {expected[1]}-D"]
    extractor = Extractor(keras.saving.load_model(reduced), tf.distribute.get_strategy())
    _, saved = RecallValidation(stage.places["val"]).report_and_ranks(*stage.places["val"].extract_all(extractor))
    assert saved.mean() == pytest.approx(ranks[expected].mean(), abs=1e-3)


def test_smaller_descriptor_is_saved_in_any_case_where_that_is_asked_for(make_stage, run, model):
    choices = [make_stage(mode, NOISE_IS_SMALL, (TOO_FEW,)).finish(model, 3) for mode in ("auto", "reduce")]
    assert [choice.saved for choice in choices] == names(TOO_FEW, "projected")
    assert choices[1].reason == f"--whitening=reduce; {choices[0].reason}"
    assert choices[1].validation == choices[0].validation
    assert run.folder.load_model().output.shape == (None, TOO_FEW)


def test_descriptors_keep_their_width_without_whitening_and_no_image_is_described(make_stage, run, model):
    stage = make_stage("none")
    stage = dataclasses.replace(stage, dims=(10_000,), sample=None, fed=None, places=None)
    choice = stage.finish(model, 2)
    assert (choice.saved, choice.reason, choice.files) == ("trained", "--whitening=none", {"trained": "model.keras"})
    assert run.folder.load_model().output.shape == (None, 12)


def test_whitening_that_is_asked_for_is_saved_however_bad_it_is(make_stage, run, model):
    choice = make_stage("pca").finish(model, 2)
    assert (choice.saved, choice.reason, choice.validation) == (names()[1], "--whitening=pca", {})
    assert run.folder.load_model().output.shape == (None, DIM)
    assert keras.saving.load_model(run.folder.unwhitened).output.shape == (None, 12)


@pytest.mark.parametrize("mode", ["auto", "none", "pca"])
def test_model_before_training_is_not_called_trained(make_stage, model, mode):
    choice = make_stage(mode).finish(model, 0)
    assert all(name.startswith("untrained (epoch 0)") for name in [choice.saved, *choice.files])


def test_resumed_run_computes_nothing_anew_where_nothing_changed(make_stage, run, model, monkeypatch, caplog):
    first = make_stage().finish(model, 1)
    before = {path.name: path.stat().st_mtime_ns for path in run.folder.path.glob("*.*")}
    monkeypatch.setattr(Places, "extract", None)
    caplog.set_level(logging.INFO, "keras_sare")
    assert make_stage().finish(model, 1) == first
    assert {path.name: path.stat().st_mtime_ns for path in run.folder.path.glob("*.*")} == before
    assert "Saved already" in caplog.text


def changed_weights(run, model):
    inputs = keras.Input((12,))
    scaled = keras.layers.Rescaling(2.0)(inputs)
    return keras.Model(inputs, keras.layers.UnitNormalization()(scaled))


@pytest.mark.parametrize(
    ("mode", "changed", "epoch", "prepare"),
    [
        ("pca", {}, 1, None),
        ("auto", {"dims": (5,)}, 1, None),
        ("auto", {"sample": np.arange(40)}, 1, None),
        ("auto", {}, 2, None),
        ("auto", {}, 1, changed_weights),
        ("auto", {}, 1, lambda run, model: run.folder.whitened.unlink()),
        ("auto", {}, 1, lambda run, model: (run.folder.path / "choice.json").unlink()),
    ],
)
def test_resumed_run_saves_anew_what_changed_or_is_gone(make_stage, run, model, mode, changed, epoch, prepare):
    make_stage(scales=NOISE_IS_SMALL, dims=(TOO_FEW,)).finish(model, 1)
    before = run.folder.model.stat().st_mtime_ns
    other = prepare(run, model) if prepare else None
    choice = dataclasses.replace(make_stage(mode, NOISE_IS_SMALL, (TOO_FEW,)), **changed).finish(other or model, epoch)
    assert run.folder.model.stat().st_mtime_ns > before
    assert choice == run.folder.choice
    assert all((run.folder.path / file).is_file() for file in choice.files.values())


def test_nothing_of_an_earlier_choice_is_left_beside_the_model(make_stage, run, model):
    make_stage("auto", NOISE_IS_SMALL, (TOO_FEW,)).finish(model, 1)
    assert run.folder.whitened.is_file()
    make_stage("none").finish(model, 1)
    assert sorted(path.name for path in run.folder.path.glob("*.keras")) == ["model.keras"]
