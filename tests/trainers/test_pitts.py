import contextlib
import csv
import io
import json
import logging
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

from keras_sare.datasets import Augmentation, open_splits
from keras_sare.models.backbones.vgg16 import write_npz
from keras_sare.training import RunFolder
from keras_sare.utils.keras_internals import all_layers
from trainers import pitts
from trainers.config import PittsConfig
from trainers.config.flags import parse
from trainers.stages.ablation import measuring
from trainers.stages.ablation.measured_sets import MeasuredSet
from trainers.stages.places import checks as place_checks
from trainers.stages.places import stages as place_stages

EPOCHS = 2


def models_of(run):
    """Names in the tables: what the kept epoch's model is called depends on which that is."""
    trained = "trained" if run.choice.kept_epoch else "untrained (epoch 0)"
    plain, whitened = run.choice.files
    assert plain == trained
    assert whitened in [f"{trained}, {how} to {dim}-D" for how in ("whitened", "projected") for dim in (8, 4, 2)]
    return ["off the shelf", plain, whitened]


DIM = 4 * 16
"""Of a descriptor without whitening."""


@pytest.fixture(scope="module")
def chosen(town, small_start):
    """Flags of a run on a small model."""
    chosen = [f"--root={town}", f"--weights={small_start}", "--train_from=conv2", "--image_size=32,48", "--dim=8"]
    return [*chosen, f"--epochs={EPOCHS}", f"--patience={EPOCHS}", "--negatives=2"]


@pytest.fixture(scope="module")
def unbroken(chosen, tmp_path_factory):
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        pitts.run(parse(PittsConfig, [*chosen, f"--output={folder}"])[0])
    return RunFolder(folder), printed.getvalue()


@pytest.fixture
def train(chosen, tmp_path, without_pictures, unread_images):
    """Runs the program in a folder, and returns the run."""

    def train(name, *more):
        pitts.run(parse(PittsConfig, [*chosen, f"--output={tmp_path / name}", *more])[0])
        return RunFolder(tmp_path / name)

    return train


@pytest.fixture
def start(chosen, tmp_path):
    """Starts the program in another process."""

    def start(name, *arguments, log="", **environment):
        command = [sys.executable, "-m", "trainers.pitts", f"--output={tmp_path / name}", *chosen, *arguments]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment}
        with open(tmp_path / f"{log or name}.log", "a") as file:
            return subprocess.Popen(command, stdout=file, stderr=file, env=environment)

    return start


def finished(process, log):
    assert process.wait(300) == 0, log.read_text()[-3000:]


def history_of(run):
    """Rows of `log.csv` without what no two runs share."""
    rows = list(csv.DictReader((run.path / "log.csv").read_text().splitlines()))
    return [{name: value for name, value in row.items() if not name.startswith("seconds")} for row in rows]


def test_run_ends_with_models_tables_and_pictures(unbroken):
    run, printed = unbroken
    assert list(json.loads((run.path / "recall.json").read_text())) == models_of(run)
    for name in ("recall.md", "recall.png", "matches.png", "evaluation.json", "training.png", "off_the_shelf.keras"):
        assert (run.path / name).stat().st_size > 100
    table = (run.path / "recall.md").read_text()
    assert f"Saved as model.keras: **{run.choice.saved}** (mean reciprocal rank on " in table
    assert table.strip() in printed
    assert len(history_of(run)) == EPOCHS + 1


def test_an_ablation_measures_a_run_from_its_store_as_the_run_did_itself(unbroken, town, monkeypatch):
    run = unbroken[0]
    folder = run.path.parent
    sets = [MeasuredSet(split, str(town), split, is_home=True) for split in ("val", "test")]
    stored = sorted(path.stat().st_mtime_ns for path in (run.path / "trunk").rglob("*.npy"))
    measuring.measure(folder, run.path, sets, run.path / "trunk")
    assert sorted(path.stat().st_mtime_ns for path in (run.path / "trunk").rglob("*.npy")) == stored
    tested = measuring.read_measured(folder, run.path, sets[1])["test"]
    expected = json.loads((run.path / "recall.json").read_text())
    for model, report in zip(tested.ranks, expected.values(), strict=True):
        np.testing.assert_allclose([(tested.ranks[model] < n).mean() for n in tested.ns], report["recalls"])
    validated = measuring.read_measured(folder, run.path, sets[0])["val"]
    for model, report in zip(("trained", "whitened"), run.choice.validation.values(), strict=True):
        np.testing.assert_allclose([(validated.ranks[model] < n).mean() for n in validated.ns], report["recalls"])
    # What is measured is not measured again, and what the model before training answers is shared.
    monkeypatch.setattr(measuring, "open_places", None)
    measuring.measure(folder, run.path, sets, run.path / "trunk")
    assert measuring.read_measured(folder, run.path, replace(sets[0], protocol="msls_radius")) is None
    assert len(list((folder / "measured" / "off_the_shelf").iterdir())) == len(sets)


def test_killed_run_is_resumed_to_the_same_result_as_an_unbroken_one(start, train, unbroken, tmp_path, caplog):
    process = start("killed")
    deadline = time.monotonic() + 200
    while not (tmp_path / "killed" / "checkpoints" / "epoch-0001").exists():
        assert process.poll() is None, (tmp_path / "killed.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model.keras").exists()
    with caplog.at_level(logging.INFO, "keras_sare"):
        resumed = train("killed", "--resume")
    assert "Resuming after epoch" in caplog.text

    first = unbroken[0]
    for a, b in zip(first.load_model().get_weights(), resumed.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.path / "recall.json").read_text() == (resumed.path / "recall.json").read_text()
    assert history_of(first) == history_of(resumed)
    assert first.choice == resumed.choice


def test_two_logical_processors_train_under_mirrored_strategy(train, mirrored, monkeypatch):
    monkeypatch.setattr(place_stages, "choose_strategy", lambda count: {2: mirrored}[count])
    run = train("mirrored", "--logical_cpus=2", "--epochs=1")
    assert [row["epoch"] for row in history_of(run)] == ["0", "1"]
    _, plain, whitened = models_of(run)
    widths = {name: keras.saving.load_model(run.path / file).output.shape[1] for name, file in run.choice.files.items()}
    assert widths[plain] == DIM
    assert whitened.endswith(f" to {widths[whitened]}-D")


def test_model_trained_in_mixed_precision_with_full_mining_and_database_queries_is_saved_in_float32(train):
    more = ["--precision=mixed_bfloat16", "--mining=full", "--database_queries", "--epochs=1", "--store_gb=0"]
    run = train("mixed", *more, "--extraction_batch=5", "--whitening=none", "--dim=5000")
    model = run.load_model()
    assert model.output.shape == (None, DIM)
    assert {layer.dtype_policy.name for layer in all_layers(model)} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert (run.settings["precision"], run.settings["extraction_batch"]) == ("mixed_bfloat16", 5)


@pytest.mark.slow
def test_two_workers_train_whiten_and_report_one_run(start, tmp_path):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    logs = [f"worker-{index}" for index in range(2)]
    processes = []
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
    assert run.load_model().output.shape[1] in (8, DIM)
    tables = ["| off the shelf |" in (tmp_path / f"{log}.log").read_text() for log in logs]
    assert tables == [True, False]


@pytest.fixture
def make(town, tmp_path, unread_images):
    """Makes a configuration."""
    chosen = {"root": str(town), "output": str(tmp_path / "run"), "store_gb": 0.0}
    return lambda **settings: PittsConfig(**{**chosen, **settings})


def test_what_positives_are_is_the_kind_of_datas_unless_settings_say(make, town, monkeypatch):
    csv_file = place_stages.open_run(make(dim=4))
    assert (csv_file.config.min_positive, csv_file.config.other_timestamps) == (0, False)
    assert csv_file.settings.min_positive == 0
    splits = open_splits(town)
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
    monkeypatch.setattr(place_checks, "open_splits", lambda *_: timed)
    tokyo = place_stages.open_run(make(dim=4))
    assert (tokyo.config.min_positive, tokyo.config.other_timestamps) == (1, True)
    assert all(data.other_timestamps for data in tokyo.datasets.values())
    radii = {"min_positive": 0.5, "positive_radius": 7.0, "negative_radius": 40.0}
    asked = place_stages.open_run(make(dim=4, other_timestamps=False, **radii))
    assert {name: asked.config.recorded()[name] for name in radii} == radii
    assert {name: getattr(asked.settings, name) for name in radii} == radii
    assert not any(data.other_timestamps for data in asked.datasets.values())


def test_headings_of_positives_are_asked_of_data_that_have_them(make, town, monkeypatch, caplog):
    caplog.set_level("INFO", logger="keras_sare")
    splits = open_splits(town)
    headings = {side: np.zeros(len(getattr(splits["train"], side))) for side in ("database", "queries")}
    looking = {side: replace(getattr(splits["train"], side), headings=h) for side, h in headings.items()}
    blind = {side: replace(images, headings=None) for side, images in looking.items()}
    monkeypatch.setattr(place_checks, "open_splits", lambda *_: splits | {"train": replace(splits["train"], **blind)})
    with pytest.raises(ValueError, match="`positive_heading` needs headings on both sides.*'town_train', database and"):
        place_stages.open_run(make(dim=4, positive_heading=40.0))
    monkeypatch.setattr(place_checks, "open_splits", lambda *_: splits | {"train": replace(splits["train"], **looking)})
    place_stages.open_run(make(dim=4, positive_heading=40.0))
    assert "Training positives: within 10 m, headings within 40 degrees" in caplog.text


def test_temperature_that_a_loss_cannot_take_is_told_before_anything_is_read(make):
    with pytest.raises(ValueError, match="Argument `temperature` must be a positive, finite number.*temperature=-1"):
        place_stages.open_run(make(temperature=-1.0))
    with pytest.raises(ValueError, match="`temperature` is a number of sare_independent.*Received: .*loss='triplet'"):
        place_stages.open_run(make(temperature=0.1, loss="triplet"))


def test_dimension_that_the_images_cannot_give_is_refused_before_training(make, tmp_path):
    with pytest.raises(ValueError, match=r"`dim` must be at most \d+ for \d+ training images.*dim=4096"):
        pitts.run(make(dim=4096))
    assert not (tmp_path / "run").exists()


def test_dimension_that_the_model_does_not_have_is_refused_before_training(make, tmp_path):
    config = make(dim=12, clusters=2)
    narrow = keras.Input((4,))
    other = keras.Model(narrow, keras.layers.Identity()(narrow), name="vgg16_netvlad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place_stages.models, "build", lambda *_, **__: other)
        with pytest.raises(ValueError, match="`dim` must be at most 4, what vgg16_netvlad gives. Received: dim=12"):
            pitts.run(config)
    assert not (tmp_path / "run").exists()


def test_whitening_fitted_on_images_that_are_tested_warns_before_training(make, town, monkeypatch):
    class Reached(Exception):
        """The run goes on after the warning."""

    def built(*_, **__):
        raise Reached

    splits = open_splits(town)
    monkeypatch.setattr(place_stages.models, "build", built)
    with pytest.raises(Reached):
        pitts.run(make(dim=4))  # Warnings are errors in these tests.
    monkeypatch.setattr(place_checks, "open_splits", lambda *_: {**splits, "test": splits["train"]})
    with (
        pytest.warns(UserWarning, match="images evaluated on .* are among the .* that whitening was fitted on"),
        pytest.raises(Reached),
    ):
        pitts.run(make(dim=4))


@pytest.mark.parametrize("size", ["480", "480,640,3", "480,x", "480,0", "48.5,64"])
def test_image_size_is_two_numbers(make, tmp_path, size):
    with pytest.raises(ValueError, match=f"`image_size` must be height,width in pixels.*Received: image_size={size}"):
        make(image_size=size.split(","))
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
def test_augmentation_is_what_is_named_and_none_where_all_is_0(make, given, expected):
    run = place_stages.open_run(make(dim=4, augment=given.split(",") if given else []))
    assert run.augmentation == expected


@pytest.mark.parametrize("given", ["blur=1", "brightness", "brightness=much", "brightness=1=2"])
def test_unknown_augmentation_is_refused(make, given):
    with pytest.raises(ValueError, match=f"`augment` must give numbers to some of.*Received: augment={given}"):
        pitts.run(make(augment=[given]))


def model_with_dropout():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, name="conv1")(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dropout(0.5, name="drop")(keras.layers.Conv2D(8, 3, name="conv2")(x))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def test_new_run_goes_on_with_what_a_resumed_one_gets(make, monkeypatch):
    class Reached(Exception):
        """The training starts."""

    seen = []

    def reached(head, *_):
        seen.append([variable.numpy() for variable in head.variables])
        raise Reached

    monkeypatch.setattr(place_stages.models, "build", lambda *_, **__: model_with_dropout())
    monkeypatch.setattr(place_stages, "Trainer", reached)
    for resume in (False, True):
        with pytest.raises(Reached):
            pitts.run(make(train_from="conv2", dim=4, image_size=(32, 48), resume=resume))
    new, resumed = seen
    assert len(new) == 3  # kernel, bias, the state of the dropout
    for a, b in zip(new, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("chosen", "scale"),
    [
        ({"loss": "triplet"}, "divide_by_violators"),
        ({"loss": "sare_joint"}, "divide_by_negatives"),
        ({"loss": "triplet", "recipe": "few_photos"}, "tuple"),
    ],
)
def test_loss_is_trained_at_the_scale_of_the_recipe(make, monkeypatch, chosen, scale):
    class Reached(Exception):
        """The training starts."""

    def reached(_, loss, *__):
        raise Reached(loss.scale)

    monkeypatch.setattr(place_stages.models, "build", lambda *_, **__: model_with_dropout())
    monkeypatch.setattr(place_stages, "Trainer", reached)
    with pytest.raises(Reached, match=scale):
        pitts.run(make(train_from="conv2", dim=4, image_size=(32, 48), **chosen))


def test_dataset_without_a_split_is_refused(make, town, monkeypatch):
    splits = open_splits(town)
    monkeypatch.setattr(place_checks, "open_splits", lambda *_: {"train": splits["train"]})
    with pytest.raises(ValueError, match="`root` must hold the splits train, val and test.*without"):
        pitts.run(make())


def test_weights_of_another_network_leave_no_folder_behind(make, tmp_path):
    write_npz(tmp_path / "other.npz", [(np.zeros((3, 3, 3, 96), "float32"), np.zeros(96, "float32"))])
    with pytest.raises(ValueError, match="belong to another network"):
        pitts.run(make(dim=8, weights=str(tmp_path / "other.npz"), preprocessing="caffe"))
    assert not (tmp_path / "run").exists()


def test_folder_that_holds_files_is_not_overwritten(make, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").touch()
    with pytest.raises(FileExistsError, match="`output` must be a new or empty folder"):
        pitts.run(make())
