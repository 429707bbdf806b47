import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import keras
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from keras_sare.datasets import Augmentation
from keras_sare.models.backbones.vgg16 import write_npz
from keras_sare.training import RunFolder
from trainers import pitts
from trainers.stages import apply_recipe, chosen_flags

EPOCHS = 3


def models_of(run):
    """Names in the tables: what the kept epoch's model is called depends on which that is."""
    trained = "trained" if run.choice.kept_epoch else "untrained (epoch 0)"
    return ["off the shelf", trained, f"{trained}, whitened to 8-D"]


@pytest.fixture
def start(town, weights, tmp_path):
    def start(name, *arguments, log="", **environment):
        command = [sys.executable, "-m", "trainers.pitts", f"--root={town}", f"--output={tmp_path / name}"]
        command += [f"--weights={weights}", "--preprocessing=torch", "--image_size=32,48", "--clusters=4", "--dim=8"]
        command += [f"--epochs={EPOCHS}", f"--patience={EPOCHS}", "--negatives=2", *arguments]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment}
        with open(tmp_path / f"{log or name}.log", "a") as file:
            return subprocess.Popen(command, stdout=file, stderr=file, env=environment)

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
    assert list(report) == models_of(runs[0])
    for name in ("recall.md", "recall.png", "matches.png", "off_the_shelf.keras"):
        assert (runs[0].path / name).stat().st_size > 100
    assert runs[0].choice == runs[1].choice
    table = (runs[0].path / "recall.md").read_text()
    assert f"Saved as model.keras: **{runs[0].choice.saved}** (recall@5 on " in table
    assert table.strip() in (tmp_path / "unbroken.log").read_text()


def test_two_logical_processors_train_under_mirrored_strategy(start, tmp_path):
    finished(start("mirrored", "--logical_cpus=2", "--epochs=1"), tmp_path / "mirrored.log")
    history = list(csv.DictReader((tmp_path / "mirrored" / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in history] == ["0", "1"]
    run = RunFolder(tmp_path / "mirrored")
    assert {
        name: keras.saving.load_model(run.path / file).output.shape[1] for name, file in run.choice.files.items()
    } == {
        run.choice.saved.removesuffix(", whitened to 8-D"): 4 * 512,
        f"{run.choice.saved.removesuffix(', whitened to 8-D')}, whitened to 8-D": 8,
    }


def test_model_trained_in_mixed_precision_with_full_mining_and_database_queries_is_saved_in_float32(start, tmp_path):
    chosen = ["--precision=mixed_bfloat16", "--mining=full", "--database_queries", "--epochs=1", "--store_gb=0"]
    chosen += ["--extraction_batch=5", "--whitening=none", "--dim=5000"]
    finished(start("mixed", *chosen), tmp_path / "mixed.log")
    model = RunFolder(tmp_path / "mixed").load_model()
    assert model.output.shape == (None, 4 * 512)
    assert {layer.dtype_policy.name for layer in model._flatten_layers()} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    trained = RunFolder(tmp_path / "mixed").settings
    assert (trained["precision"], trained["extraction_batch"]) == ("mixed_bfloat16", 5)


@pytest.mark.slow
def test_two_workers_train_whiten_and_report_one_run(start, tmp_path):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    logs, processes = [f"worker-{index}" for index in range(2)], []
    for index, log in enumerate(logs):
        config = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        processes.append(start("shared", "--epochs=1", "--resume", log=log, TF_CONFIG=config))
    try:
        for process, log in zip(processes, logs, strict=True):
            finished(process, tmp_path / f"{log}.log")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    run = RunFolder(tmp_path / "shared")
    assert list(json.loads((run.path / "recall.json").read_text())) == models_of(run)
    assert run.load_model().output.shape[1] in (8, 4 * 512)
    tables = ["| off the shelf |" in (tmp_path / f"{log}.log").read_text() for log in logs]
    assert tables == [True, False]


@pytest.fixture
def flag_values(town, tmp_path):
    flags.FLAGS(["pitts", f"--root={town}", f"--output={tmp_path / 'run'}"])
    with flagsaver.flagsaver():
        yield flags.FLAGS


def opened(flag_values, **changed):
    flag_values.dim = 4
    for name, value in changed.items():
        flag_values[name].value = value
    return pitts._open_run()


def test_what_positives_are_is_the_kind_of_datas_unless_flags_say(flag_values, monkeypatch):
    csv_file = opened(flag_values)
    assert (csv_file.chosen["min_positive"], csv_file.chosen["other_timestamps"]) == (0, False)
    assert csv_file.settings.min_positive == 0
    splits = pitts.open_splits(flag_values.root)
    timed = {
        name: replace(
            data,
            database=replace(data.database, timestamps=np.arange(len(data.database))),
            queries=replace(data.queries, timestamps=np.arange(len(data.queries))),
            min_positive=1.0,
            other_timestamps=True,
        )
        for name, data in splits.items()
    }
    monkeypatch.setattr(pitts, "open_splits", lambda *_: timed)
    tokyo = opened(flag_values)
    assert (tokyo.chosen["min_positive"], tokyo.chosen["other_timestamps"]) == (1, True)
    assert all(data.other_timestamps for data in tokyo.datasets.values())
    radii = {"min_positive": 0.5, "positive_radius": 7.0, "negative_radius": 40.0}
    asked = opened(flag_values, other_timestamps=False, **radii)
    assert {name: asked.chosen[name] for name in radii} == radii
    assert {name: getattr(asked.settings, name) for name in radii} == radii
    assert not any(data.other_timestamps for data in asked.datasets.values())


def test_dimension_that_the_images_cannot_give_is_refused_before_training(flag_values, tmp_path):
    flag_values.dim = 4096
    with pytest.raises(ValueError, match=r"`dim` must be at most \d+ for \d+ training database images.*dim=4096"):
        pitts.main([])
    assert not (tmp_path / "run").exists()


def test_dimension_that_the_model_does_not_have_is_refused_before_training(flag_values, tmp_path, weights):
    flag_values.model, flag_values.dim, flag_values.clusters = "vgg16_netvlad", 12, 2
    flag_values.weights, flag_values.preprocessing = str(weights), "torch"
    narrow = keras.Input((4,))
    other = keras.Model(narrow, keras.layers.Identity()(narrow), name="vgg16_netvlad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pitts.models, "build", lambda *_, **__: other)
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


@pytest.mark.parametrize("size", ["480", "480,640,3", "480,x", "480,0", "48.5,64"])
def test_image_size_is_two_numbers(flag_values, tmp_path, size):
    flag_values.image_size = size.split(",")
    with pytest.raises(ValueError, match=f"`image_size` must be height,width in pixels.*Received: image_size={size}"):
        pitts.main([])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", None),
        ("brightness=0", None),
        ("flip=0,scale=0.0", None),
        ("flip=0,scale=0.1", Augmentation(scale=0.1)),
        ("brightness=0.2,flip=1", Augmentation(brightness=0.2, flip=True)),
    ],
)
def test_augmentation_is_what_the_flag_names_and_none_where_all_is_0(flag_values, given, expected):
    flag_values.augment = given.split(",") if given else []
    assert pitts._augmentation() == expected


@pytest.mark.parametrize("given", ["blur=1", "brightness", "brightness=much", "brightness=1=2"])
def test_unknown_augmentation_is_refused(flag_values, given):
    flag_values.augment = [given]
    with pytest.raises(ValueError, match=f"`augment` must give numbers to some of.*Received: augment={given}"):
        pitts.main([])


def test_recipe_gives_the_values_of_flags_that_the_command_line_leaves_open(flag_values):
    flag_values(["pitts", "--recipe=few_photos", "--epochs=30", "--mining=random", "--root=a", "--output=b"])
    apply_recipe(pitts.RECIPES["few_photos"])
    assert (flag_values.epochs, flag_values.mining) == (30, "random")  # given, though as the flags' defaults
    assert (flag_values.train_from, flag_values.optimizer, flag_values.dim) == ("conv5_3", "adam", 128)
    assert (flag_values.clusters, flag_values.select_by) == (64, 5)
    settings = chosen_flags("trainers.pitts")
    assert {name: settings[name] for name in pitts.RECIPES["few_photos"]} == {
        **pitts.RECIPES["few_photos"],
        "epochs": 30,
        "mining": "random",
    }


def model_with_dropout():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, name="conv1")(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dropout(0.5, name="drop")(keras.layers.Conv2D(8, 3, name="conv2")(x))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def test_new_run_goes_on_with_what_a_resumed_one_gets(flag_values, monkeypatch):
    class Reached(Exception):
        """The training starts."""

    seen = []

    def reached(head, *_):
        seen.append([variable.numpy() for variable in head.variables])
        raise Reached

    monkeypatch.setattr(pitts.models, "build", lambda *_, **__: model_with_dropout())
    monkeypatch.setattr(pitts, "Trainer", reached)
    flag_values.train_from, flag_values.dim, flag_values.image_size = "conv2", 4, ["32", "48"]
    for resume in (False, True):
        flag_values.resume = resume
        with pytest.raises(Reached):
            pitts.train()
    new, resumed = seen
    assert len(new) == 3  # kernel, bias, the state of the dropout
    for a, b in zip(new, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("chosen", "scale"),
    [
        (["--loss=triplet"], "divide_by_violators"),
        (["--loss=sare_joint"], "divide_by_negatives"),
        (["--loss=triplet", "--recipe=few_photos"], "tuple"),
    ],
)
def test_loss_is_trained_at_the_scale_of_the_recipe(flag_values, town, tmp_path, monkeypatch, chosen, scale):
    class Reached(Exception):
        """The training starts."""

    def reached(_, loss, *__):
        raise Reached(loss.scale)

    monkeypatch.setattr(pitts.models, "build", lambda *_, **__: model_with_dropout())
    monkeypatch.setattr(pitts, "Trainer", reached)
    size = ["--train_from=conv2", "--dim=4", "--image_size=32,48"]
    flag_values(["pitts", f"--root={town}", f"--output={tmp_path / 'run'}", *size, *chosen])
    with pytest.raises(Reached, match=scale):
        pitts.train()


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
