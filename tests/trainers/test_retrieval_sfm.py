import contextlib
import csv
import io
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sare.datasets import SfMDataset
from keras_sare.extraction import cached_descriptors as cached_descriptors
from keras_sare.layers import MAC
from keras_sare.training import RunFolder
from trainers import retrieval_sfm, retrieval_table
from trainers.config import RetrievalConfig, TableConfig
from trainers.config.flags import parse
from trainers.stages.listed_runs import list_all
from trainers.stages.retrieval import stages as retrieval_stages
from trainers.stages.retrieval.photos import load_models

ROWS = ["off the shelf", "off the shelf + PCAw", "off the shelf + Lw"]
ROWS += ["fine-tuned", "fine-tuned + PCAw", "fine-tuned + Lw"]
ROWS += [f"fine-tuned + Lw + {step}" for step in ("alpha-QE", "AML", "AML + QE")]


class Killed(BaseException):
    """Stands for a kill: nothing in the program handles it."""


def small_model(*_, **__):
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(images)
    x = keras.layers.Conv2D(8, 4, strides=4, activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(24, 3, activation="relu", name="conv2")(x)
    return keras.Model(images, MAC(name="mac")(x), name="small")


def arguments(photos, output, *more):
    given = [f"--dataset={photos / 'sfm.npz'}", f"--output={output}", "--longer_side=64", "--negatives=2"]
    return [*given, "--val_share=0.25", "--epochs=2", "--learning_rate=0.01", "--select=last", *more]


@pytest.fixture(scope="module")
def small_start(tmp_path_factory):
    """A model to start from."""
    keras.utils.set_random_seed(4)
    path = tmp_path_factory.mktemp("start") / "small.keras"
    small_model().save(path)
    return path


@pytest.fixture(scope="module")
def chosen(retrieval_photos, small_start):
    """Flags of a run on a small model in a folder, and others."""
    own = "--train_from=conv2", f"--weights={small_start}"
    return lambda output, *more: arguments(retrieval_photos, output, *own, *more)


def start(given):
    retrieval_sfm.run(parse(RetrievalConfig, given)[0])


@pytest.fixture
def train(chosen, tmp_path, without_pictures, unread_images):
    """Runs the program in a folder."""
    return lambda name, *more: start(chosen(tmp_path / name, *more))


@pytest.fixture(scope="module")
def tested(retrieval_photos):
    toy = retrieval_photos / "toy"
    return f"--ground_truth={toy / 'gnd_toy.json'}", f"--pca_images={retrieval_photos / 'more'}"


@pytest.fixture(scope="module")
def unbroken(chosen, tested, tmp_path_factory):
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        start(chosen(folder, *tested))
    return folder, printed.getvalue()


def kill(*_, **__):
    raise Killed


def kill_process_after_epoch_1(given, folder):
    """Starts the program as users do, kills it while it trains, and returns the command."""
    command = [sys.executable, "-m", "trainers.retrieval_sfm", *given]
    output = next(flag.removeprefix("--output=") for flag in given if flag.startswith("--output="))
    with open(folder / "log", "a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})
    deadline = time.monotonic() + 300
    while not Path(output, "checkpoints", "epoch-0001").exists():
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return command


def test_run_trains_whitens_and_ends_with_the_table(unbroken):
    run = RunFolder(unbroken[0])
    printed = unbroken[1]
    before, trained, whitened = map(keras.saving.load_model, (run.off_the_shelf, run.unwhitened, run.model))
    changed = [not np.array_equal(a, b) for a, b in zip(before.get_weights(), trained.get_weights(), strict=True)]
    assert changed == [False, False, True, True]  # conv1 is frozen
    # 6 buildings of 4 photos in chains: 18 directions, half of them.
    assert (trained.output.shape, whitened.output.shape) == ((None, 24), (None, 9))
    assert [row["epoch"] for row in csv.DictReader((run.path / "log.csv").read_text().splitlines())] == ["0", "1", "2"]
    table = run.path / "toy"
    assert (table / "retrieval.md").read_text() in printed
    assert "Verdict: best is **" in printed
    assert (run.path / "validation.md").read_text() in printed
    assert run.choice.saved == "fine-tuned, whitened to 9-D"
    assert "| best epoch | val mAP | val mP@1 |" in list_all(run.path)
    stored = json.loads((table / "retrieval.json").read_text())
    assert list(stored["reports"]) == ROWS
    assert stored["notes"][-1] == ("fine-tuned + Lw has 9 dimensions, not 24: 36 pairs of 24 photos determine no more.")
    assert {"boxes.png", "retrieval.png"} <= {path.name for path in table.iterdir()}
    assert not (table / ".retrieval-arrays").exists()
    images = np.random.default_rng(0).integers(0, 255, (2, 48, 64, 3)).astype("float32")
    assert np.linalg.norm(whitened.predict(images, verbose=0), axis=1) == pytest.approx([1, 1])


def test_killed_run_is_resumed_to_the_same_result_as_an_unbroken_one(chosen, train, tested, unbroken, tmp_path, caplog):
    kill_process_after_epoch_1(chosen(tmp_path / "killed", *tested), tmp_path)
    assert not (tmp_path / "killed" / "model.keras").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainers.stages.retrieval.whitening.pairs_of", kill)  # trained, not whitened
        with pytest.raises(Killed):
            train("killed", *tested, "--resume")
    caplog.set_level(logging.INFO, "keras_sare")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        describe = cached_descriptors.extract_images
        patch.setattr(cached_descriptors, "extract_images", lambda *a, **k: seen.append(a[2]) or describe(*a, **k))
        patch.setattr("keras_sare.evaluation.comparisons.retrieval_comparison.write_retrieval", kill)
        with pytest.raises(Killed):
            train("killed", *tested, "--resume")
    kept = tmp_path / "killed" / "toy" / ".retrieval-arrays"
    assert list(kept.iterdir())
    assert "Resuming after epoch 2" in caplog.text
    # The trained model's pairs are described for the whitening that the model gets, and not again for the table's.
    assert seen == [
        "validation photos, off the shelf",
        "validation photos, fine-tuned",
        "photos to whiten by",
        "off the shelf, independent photos",
        "off the shelf, pairs",
        "fine-tuned, independent photos",
    ]

    with pytest.MonkeyPatch.context() as patch:
        for name in ("extract_landmarks", "extract_images"):
            patch.setattr(f"keras_sare.extraction.cached_descriptors.{name}", kill)
        patch.setattr("keras_sare.evaluation.comparisons.database_maps.write_activation_maps", kill)
        train("killed", *tested, "--resume")
    for name in ("unwhitened.keras", "model.keras"):
        models = [keras.saving.load_model(run / name) for run in (unbroken[0], tmp_path / "killed")]
        for a, b in zip(*(model.get_weights() for model in models), strict=True):
            np.testing.assert_array_equal(a, b)
    tables = [(run / "toy" / "retrieval.json").read_text() for run in (unbroken[0], tmp_path / "killed")]
    assert tables[0] == tables[1]
    assert not kept.exists()


def test_whitening_of_a_finished_model_is_learned_anew_only_where_it_would_be_another(train, unbroken, tmp_path):
    shutil.copytree(unbroken[0], tmp_path / "run")
    whitened = (tmp_path / "run" / "model.keras").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cached_descriptors, "extract_images", kill)
        train("run", "--resume")
        with pytest.raises(Killed):
            train("run", "--resume", "--dim=5")
    assert (tmp_path / "run" / "model.keras").stat().st_mtime_ns == whitened
    train("run", "--resume", "--dim=5")
    assert keras.saving.load_model(tmp_path / "run" / "model.keras").output.shape == (None, 5)
    assert not (tmp_path / "run" / ".retrieval-arrays").exists()


def test_published_list_is_trained_on_by_its_pairs(train, published, tmp_path):
    train("run", f"--dataset={published}", f"--images={published.parent / 'ims'}", "--epochs=1")
    settings = RunFolder(tmp_path / "run").settings
    assert (settings["positive"], settings["queries_per_epoch"]) == ("pairs", 0)
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines())] == [
        "0",
        "1",
    ]
    assert (tmp_path / "run" / "model.keras").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--positive=m3"], "`dataset` must have `centres` for positives by 'm3'"),
        (["--negatives=6"], "`negatives` must not exceed the other clusters"),
    ],
)
def test_photos_that_do_not_suffice_are_told_before_they_are_decoded(more, message, train, published, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval_stages, "readable_photos", kill)
        with pytest.raises(ValueError, match=message):
            train("run", f"--dataset={published}", f"--images={published.parent / 'ims'}", *more)
    assert not (tmp_path / "run").exists()


def test_validation_with_nothing_to_find_is_told_before_anything_is_written(train, published, tmp_path):
    lists = pickle.loads(published.read_bytes())
    lists["val"]["cluster"] = [0, 1, 2, 3]
    lists["val"]["qidxs"] = []
    lists["val"]["pidxs"] = []
    published.write_bytes(pickle.dumps(lists, 2))
    with pytest.raises(ValueError, match="validation has nothing to find"):
        train("run", f"--dataset={published}", f"--images={published.parent / 'ims'}")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def make_table(without_pictures, unread_images):
    """Runs the other program."""
    return lambda *given: retrieval_table.run(parse(TableConfig, [*map(str, given)])[0])


def test_other_program_makes_the_table_of_a_finished_run(
    unbroken, retrieval_photos, tmp_path, tested, make_table, capsys
):
    given = [f"--run={unbroken[0]}", *tested, f"--distractors={retrieval_photos / 'more'}", f"--output={tmp_path}"]
    with pytest.warns(UserWarning, match="12 of the 28 images evaluated on"):
        make_table(*given, "--longer_side=64", "--diffusion_k=5", "--rerank=4")

    assert (tmp_path / "retrieval.md").read_text() in capsys.readouterr().out
    stored = json.loads((tmp_path / "retrieval.json").read_text())
    assert [name for name in stored["reports"] if "diffusion" not in name] == ROWS
    assert stored["bases"]["fine-tuned + Lw + diffusion"] == "fine-tuned + Lw"
    assert stored["reports"]["fine-tuned"]["easy"]["database"] == 24
    assert stored["settings"]["diffusion"]["k"] == 5
    assert (tmp_path / stored["settings"]["run"]).resolve() == unbroken[0]


def test_table_of_other_settings_goes_into_another_folder(unbroken, tested, make_table):
    with pytest.raises(FileExistsError, match="scales: single there, multi now. Name another folder"):
        make_table(f"--run={unbroken[0]}", *tested, "--scales=multi")


def test_run_that_has_not_finished_has_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no off_the_shelf.keras: it has not finished.*--resume"):
        load_models(RunFolder(tmp_path))


def test_photos_that_are_tested_are_left_out_or_warned_of_before_training(
    train, monkeypatch, retrieval_photos, tmp_path
):
    buildings = SfMDataset.load(retrieval_photos / "sfm.npz")
    names = [path.rpartition("/")[2] for path in buildings.paths.tolist()]
    truth = {"imlist": names[:3], "qimlist": names[3:4], "gnd": [{"ok": [0], "junk": []}]}
    (tmp_path / "gnd_own.json").write_text(json.dumps(truth))
    own = f"--ground_truth={tmp_path / 'gnd_own.json'}", f"--test_images={retrieval_photos}"
    (tmp_path / "own.txt").write_text("\n".join(names[:4]) + "\n")
    monkeypatch.setattr(retrieval_stages, "make_off_the_shelf", kill)

    with pytest.warns(UserWarning, match="4 of the 4 images evaluated on"), pytest.raises(Killed):
        train("run", *own)
    with pytest.raises(Killed):  # Warnings are errors in these tests.
        train("run", *own, f"--leave_out={tmp_path / 'own.txt'}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("--dataset=nowhere.npz", ValueError, "`path` must be a file that `SfMDataset.save` wrote"),
        ("--ground_truth=nowhere.json", FileNotFoundError, "`path` must be a file or folder with a ground truth"),
        ("--val_share=0", ValueError, "`share` must be between 0 and 1"),
        ("--val_share=0.9", ValueError, "`negatives` must not exceed the other clusters"),
        ("--train_from=conv9", ValueError, "conv9"),
        ("--weights=imagenet --model=vgg16_netvlad", ValueError, "`model` must be one of alexnet_crow"),
        ("--positive=pairs", ValueError, "`dataset` must have `pairs` for positives by 'pairs'"),
    ],
)
def test_wrong_flags_are_refused(train, wrong, error, message):
    with pytest.raises(error, match=message):
        train("run", *wrong.split())


def test_photos_for_pca_are_read_before_training(train, tested, tmp_path, monkeypatch):
    monkeypatch.setattr(retrieval_stages, "make_off_the_shelf", kill)
    (tmp_path / "others").mkdir()
    with pytest.raises(ValueError, match="`images` must hold .jpg, .jpeg, .png files"):
        train("run", tested[0], f"--pca_images={tmp_path / 'others'}")
    (tmp_path / "others" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="1 of the 1 `PCA whitening` images"):
        train("run", tested[0], f"--pca_images={tmp_path / 'others'}")


def test_folder_of_another_run_is_refused(train, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").touch()
    with pytest.raises(FileExistsError, match="`output` must be a new or empty folder"):
        train("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval_stages, "fit", kill)
        with pytest.raises(Killed):
            train("other")
    with pytest.raises(ValueError, match="A run is resumed with the settings.*tau: 0.7 before, 0.8 now"):
        train("other", "--resume", "--tau=0.8")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--val_share=0.5"], (3, 5)),  # 4 buildings are left, each other one gives a negative
        (["--val_share=0.2", "--tuples_per_step=2"], (5, 2)),
        (["--val_share=0.5", "--negatives_from=N1"], (5, 5)),
        (["--queries_per_epoch=3"], (5, 3)),
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("unread_images")
def test_numbers_that_are_not_given_fit_the_photos(
    retrieval_photos, small_start, tmp_path, monkeypatch, given, expected
):
    class Reached(Exception):
        """The training starts."""

    def reached(_, __, train, *___):
        raise Reached(train.settings.negatives, train.settings.tuples_per_step)

    monkeypatch.setattr(retrieval_stages, "Trainer", reached)
    photos = [f"--dataset={retrieval_photos / 'sfm.npz'}", f"--output={tmp_path / 'run'}", "--longer_side=64"]
    photos += [f"--weights={small_start}", "--train_from=conv2", "--store_gb=0"]
    config, _ = parse(RetrievalConfig, [*photos, "--positive=m2", *given])
    with pytest.raises(Reached) as info:
        retrieval_sfm.run(config)
    assert info.value.args == expected
    settings = RunFolder(tmp_path / "run").settings
    assert (settings["negatives"], settings["tuples_per_step"]) == expected


def test_negatives_that_are_given_and_that_no_photos_have_are_refused(train, tmp_path):
    with pytest.raises(ValueError, match="`negatives` must not exceed the other clusters.* Received: negatives=9"):
        train("run", "--negatives=9")
    assert not (tmp_path / "run").exists()


def test_test_set_may_be_named_when_the_run_is_resumed(train, tested, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval_stages, "fit", kill)
        with pytest.raises(Killed):
            train("run")
        with pytest.raises(Killed):
            train("run", "--resume", *tested)
    assert not {"ground_truth", "test_images", "pca_images"} & RunFolder(tmp_path / "run").settings.keys()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["vgg16_mac", "vgg16_gem", "vgg16_rmac"])
def test_killed_process_is_resumed_with_each_head(preset, retrieval_photos, weights, tmp_path, tested):
    given = arguments(retrieval_photos, tmp_path / "run", *tested, f"--model={preset}", f"--weights={weights}")
    command = kill_process_after_epoch_1([*given, "--preprocessing=torch", "--recipe=few_photos"], tmp_path)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    with open(tmp_path / "log", "a") as log:
        again = subprocess.run([*command, "--resume"], stdout=log, stderr=log, env=environment, check=False)
    assert again.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert "Resuming after epoch" in (tmp_path / "log").read_text()
    stored = json.loads((tmp_path / "run" / "toy" / "retrieval.json").read_text())
    assert list(stored["reports"]) == ROWS


def test_finished_model_is_gone_on_from_without_its_whitening(train, unbroken, tmp_path):
    first = RunFolder(unbroken[0])
    train("more", f"--weights={first.model}", "--epochs=0")
    run = RunFolder(tmp_path / "more")
    before, start = map(keras.saving.load_model, (first.unwhitened, run.off_the_shelf))
    for a, b in zip(before.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [row["epoch"] for row in csv.DictReader((run.path / "log.csv").read_text().splitlines())] == ["0"]
    for a, b in zip(first.load_model().get_weights(), run.load_model().get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`model` must not be given with a .keras file"):
        train("other", f"--weights={first.model}", "--model=vgg16_gem")
