import csv
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from keras_sare.models.weight_files import write_npz
from keras_sare.training import RunFolder
from trainers import pitts

EPOCHS = 3


@pytest.fixture
def start(town, weights, tmp_path):
    def start(name, *arguments):
        command = [sys.executable, "-m", "trainers.pitts", f"--root={town}", f"--output={tmp_path / name}"]
        command += [f"--weights={weights}", "--preprocessing=torch", "--image_size=32,48", "--clusters=4", "--dim=8"]
        command += [f"--epochs={EPOCHS}", f"--patience={EPOCHS}", "--negatives=2", *arguments]
        log = open(tmp_path / f"{name}.log", "a")  # noqa: SIM115  (the process writes to it)
        with log:
            return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})

    return start


def finished(process, log):
    assert process.wait(300) == 0, log.read_text()[-3000:]


def test_killed_run_is_resumed_to_the_same_result_as_an_unbroken_one(start, tmp_path):
    finished(start("unbroken"), tmp_path / "unbroken.log")

    process = start("killed")
    deadline = time.monotonic() + 200
    while not (tmp_path / "killed" / "checkpoints" / "epoch-0001").exists():
        assert process.poll() is None, (tmp_path / "killed.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model.keras").exists()
    finished(start("killed", "--resume"), tmp_path / "killed.log")
    assert "Resuming after epoch" in (tmp_path / "killed.log").read_text()

    runs = [RunFolder(tmp_path / name) for name in ("unbroken", "killed")]
    for a, b in zip(*(run.load_model().get_weights() for run in runs), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (runs[0].path / "recall.json").read_text() == (runs[1].path / "recall.json").read_text()
    histories = [list(csv.DictReader((run.path / "log.csv").read_text().splitlines())) for run in runs]
    assert len(histories[0]) == EPOCHS + 1
    for row in (row for history in histories for row in history):
        for name in [name for name in row if name.startswith("seconds")]:
            del row[name]
    assert histories[0] == histories[1]

    report = json.loads((runs[0].path / "recall.json").read_text())
    assert list(report) == ["off the shelf", "trained, whitened to 8-D", "trained"]
    for name in ("recall.md", "recall.png", "matches.png", "off_the_shelf.keras"):
        assert (runs[0].path / name).stat().st_size > 100


def test_two_logical_processors_train_under_mirrored_strategy(start, tmp_path):
    finished(start("mirrored", "--logical_cpus=2", "--epochs=1"), tmp_path / "mirrored.log")
    history = list(csv.DictReader((tmp_path / "mirrored" / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in history] == ["0", "1"]
    assert RunFolder(tmp_path / "mirrored").load_model().output.shape == (None, 8)


@pytest.fixture
def flag_values(town, tmp_path):
    flags.FLAGS(["pitts", f"--root={town}", f"--output={tmp_path / 'run'}"])
    with flagsaver.flagsaver():
        yield flags.FLAGS


def test_dimension_that_the_images_cannot_give_is_refused_before_training(flag_values, tmp_path):
    flag_values.dim = 4096
    with pytest.raises(ValueError, match=r"`dim` must be at most \d+ for \d+ training database images.*dim=4096"):
        pitts.main([])
    assert not (tmp_path / "run").exists()


def test_dimension_that_the_model_does_not_have_is_refused_before_training(flag_values, tmp_path, weights):
    flag_values.model, flag_values.dim, flag_values.clusters = "vgg16_netvlad", 12, 2
    flag_values.weights, flag_values.preprocessing = str(weights), "torch"
    narrow = keras.Input((4,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pitts.models, "build", lambda *_, **__: keras.Model(narrow, keras.layers.Identity()(narrow)))
        with pytest.raises(ValueError, match="`dim` must be at most 4, what vgg16_netvlad gives. Received: dim=12"):
            pitts.main([])
    assert not (tmp_path / "run").exists()


def test_whitening_fitted_on_images_that_are_tested_warns_before_training(flag_values, monkeypatch):
    class Reached(Exception):
        """The run goes on after the warning."""

    def built(*_, **__):
        raise Reached

    splits = pitts.open_splits(flag_values.root)
    flag_values.dim = 4
    monkeypatch.setattr(pitts.models, "build", built)
    with pytest.raises(Reached):
        pitts.train()  # Warnings are errors in these tests.
    monkeypatch.setattr(pitts, "open_splits", lambda *_: {**splits, "test": splits["train"]})
    with (
        pytest.warns(UserWarning, match="images evaluated on .* are among the .* that whitening was fitted on"),
        pytest.raises(Reached),
    ):
        pitts.train()


def test_image_size_needs_both_numbers(flag_values, tmp_path):
    flag_values.image_size = ["480"]
    with pytest.raises(ValueError, match="not enough values"):
        pitts.main([])
    assert not (tmp_path / "run").exists()


def test_dataset_without_a_split_is_refused(flag_values, tmp_path, monkeypatch):
    splits = pitts.open_splits(flag_values.root)
    monkeypatch.setattr(pitts, "open_splits", lambda *_: {"train": splits["train"]})
    with pytest.raises(ValueError, match="`root` must hold the splits train, val and test.*without"):
        pitts.main([])


def test_weights_of_another_network_leave_no_folder_behind(flag_values, tmp_path):
    write_npz(tmp_path / "other.npz", [(np.zeros((3, 3, 3, 96), "float32"), np.zeros(96, "float32"))])
    flag_values.dim, flag_values.weights, flag_values.preprocessing = 8, str(tmp_path / "other.npz"), "caffe"
    with pytest.raises(ValueError, match="belong to another network"):
        pitts.main([])
    assert not (tmp_path / "run").exists()


def test_interruption_tells_how_to_go_on(flag_values, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(pitts, "train", interrupted)
    with pytest.raises(SystemExit, match="The same command with --resume goes on"):
        pitts.main([])


def test_folder_that_holds_files_is_not_overwritten(flag_values, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").touch()
    with pytest.raises(FileExistsError, match="`output` must be a new or empty folder"):
        pitts.main([])
