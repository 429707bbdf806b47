"""The examples run, and are short."""

import importlib.util
from pathlib import Path

import keras
import pytest

from keras_sare.datasets import open_dataset
from keras_sare.datasets.town.town import render_town
from keras_sare.layers import GeM, ImagePreprocessing, NetVLAD
from keras_sare.models.model_file import open_model_file

FOLDER = Path(__file__).parents[1] / "examples"
SIZE = (30, 40)


def load(name):
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples") / "town"
    return str(render_town(folder, 0, SIZE, train_places=3, val_places=2, test_places=3))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    keras.utils.set_random_seed(1)
    images = keras.Input((None, None, 3))
    prepared = ImagePreprocessing((120.0, 120.0, 120.0), (60.0, 60.0, 60.0))(images)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    keras.Model(images, GeM()(keras.layers.Conv2D(8, 5, 2, activation="relu")(prepared))).save(path)
    return str(path)


@pytest.fixture(scope="module")
def untrained_file(tmp_path_factory):
    keras.utils.set_random_seed(4)
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(16, 4, strides=4, activation="relu", name="conv1")(
        keras.layers.Rescaling(1 / 127.5, -1)(images)
    )
    x = keras.layers.Conv2D(16, 3, padding="same", name="conv2")(x)
    path = tmp_path_factory.mktemp("start") / "small.keras"
    keras.Model(images, NetVLAD(4, name="netvlad")(x), name="small").save(path)
    return str(path)


@pytest.fixture
def without_pictures(monkeypatch):
    """They take longer than all the rest of a small run."""
    for name in ("training.logs.draw_training", "evaluation.place_report.draw_matches"):
        monkeypatch.setattr(f"keras_sare.{name}", lambda *_, **__: None)
    monkeypatch.setattr("keras_sare.evaluation.report_files.recall_curves", lambda *_: None)


@pytest.mark.usefixtures("without_pictures")
def test_a_model_is_trained_and_a_second_call_trains_no_more(town, untrained_file, tmp_path):
    train = load("train").train
    settings = {"weights": untrained_file, "train_from": "conv2", "image_size": SIZE, "dim": 4, "epochs": 1}
    recalls = train(town, str(tmp_path / "run"), **settings, negatives=2)
    assert next(iter(recalls)) == "off the shelf"
    assert all(0 <= recall <= 1 for recall in recalls.values())
    assert open_model_file(tmp_path / "run" / "model.keras").output.shape[-1] <= 64
    assert train(town, str(tmp_path / "run"), **settings, negatives=2) == recalls


def test_a_model_is_evaluated(town, model_file):
    report = load("evaluate").evaluate(town, model_file, SIZE)
    assert (report.protocol, report.dataset) == ("recall@N within 25 m", "town_test")
    assert (report.queries, report.database) == (9, 6)
    assert 0 < report.at(5) <= 1


def test_a_served_model_finds_a_photo_of_the_database_itself(town, model_file, tmp_path):
    photo = open_dataset(town).database.paths[4]
    assert load("serve").locate(town, model_file, str(photo), SIZE, str(tmp_path)) == photo


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_short_and_say_how_they_are_started(path):
    text = path.read_text()
    assert len(text.splitlines()) < 40
    assert f"python examples/{path.name}" in text
