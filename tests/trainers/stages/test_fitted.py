import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.datasets.places.open_splits import open_splits
from keras_sare.layers import NetVLAD
from keras_sare.training import RunFolder
from trainers import pitts
from trainers.config import PittsConfig
from trainers.config.flags import parse
from trainers.config.recipes import RECIPES
from trainers.stages.fitted import fit_places, fit_refreshes
from trainers.stages.places import checks as place_checks
from trainers.stages.places import stages as place_stages
from trainers.stages.run import with_run_settings


class Reached(Exception):
    """The training starts."""


@pytest.fixture
def given(town, tmp_path, unread_images):
    """Makes a configuration of a command line."""
    chosen = [f"--root={town}", f"--output={tmp_path / 'run'}", "--store_gb=0"]
    return lambda *arguments: parse(PittsConfig, [*chosen, *arguments])[0]


@pytest.fixture
def started(monkeypatch):
    """Runs the program until the training starts, on a small model; returns the training split's settings."""

    def small(*_, **__):
        x = images = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(96, 3, name="conv1")(keras.layers.Rescaling(1 / 255)(x))
        return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))

    seen = []

    def reached(_, __, train, *___):
        seen.append(train.settings)
        raise Reached

    monkeypatch.setattr(place_stages.models, "build", small)
    monkeypatch.setattr(place_stages, "Trainer", reached)

    def start(config):
        with pytest.raises(Reached):
            pitts.run(config)
        return seen[-1]

    return start


def line_of_places(count):
    """Places 40 m apart, each seen once by the database and once, 3 m off, by a query."""
    positions = np.stack([40.0 * np.arange(count), np.zeros(count)], axis=1)
    sides = [ImageSet([f"{role}{i}" for i in range(count)], positions + off) for role, off in (("d", 0), ("q", 2))]
    return PlaceDataset("line", *sides)


def test_number_that_is_not_given_is_lowered_and_told(given, caplog):
    values = given("--negatives=7").lowered("dim", 61, "half of the 122 images")
    values = values.lowered("negatives", 3, "there are no more").lowered("clusters", 64, "it fits")
    values = values.lowered("checkpoint_every", 0, "nothing fits")
    assert (values.dim, values.negatives, values.clusters, values.checkpoint_every) == (61, 7, 64, 200)
    assert caplog.messages == ["--dim=61 instead of 4096: half of the 122 images"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ([], (1000, 4)),
        (["--tuples_per_step=2000"], (2000, 2000)),
        (["--refresh_every=3"], (3, 3)),
        (["--refresh_every=3", "--tuples_per_step=4"], (3, 4)),
    ],
)
def test_refreshes_and_steps_are_fitted_to_one_another_where_one_is_not_given(given, chosen, expected):
    values = fit_refreshes(given(*chosen))
    assert (values.refresh_every, values.tuples_per_step) == expected


@pytest.mark.parametrize(
    ("places", "replicas", "expected"), [(12, 1, (10, 4)), (4, 1, (3, 4)), (3, 1, (2, 3)), (3, 2, (2, 2))]
)
def test_negatives_and_tuples_are_no_more_than_the_places_have(given, places, replicas, expected):
    values = fit_places(given("--dim=1"), line_of_places(places), replicas)
    assert (values.negatives, values.tuples_per_step) == expected


def test_clusters_are_half_of_the_local_descriptors_at_most(given, started, town, tmp_path, monkeypatch):
    def with_clusters(*_, clusters, **__):
        images = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(8, 16, strides=16, name="conv1")(keras.layers.Rescaling(1 / 255)(images))
        return keras.Model(images, NetVLAD(clusters, name="netvlad")(x))

    monkeypatch.setattr(place_stages.models, "build", with_clusters)
    small = ["--image_size=32,48", "--train_from=conv1", "--dim=4"]
    images = len(open_splits(town)["train"].database)
    assert 3 * images < 64
    started(given(*small))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["clusters"] == 3 * images  # of 2 x 3 positions each
    with pytest.raises(ValueError, match="at least 128 local descriptors for 64 clusters"):
        pitts.run(given(*small, "--clusters=64", f"--output={tmp_path / 'other'}"))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("--negatives=400", "`negatives` must not exceed the definite negatives.* Received: negatives=400"),
        ("--tuples_per_step=300", "`tuples_per_step` must not exceed the training queries.* tuples_per_step=300"),
    ],
)
def test_number_that_is_given_and_does_not_fit_is_refused_before_anything_is_computed(given, tmp_path, chosen, message):
    with pytest.raises(ValueError, match=message):
        pitts.run(given("--dim=4", chosen))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_starts_on_few_photos_and_goes_on_with_the_same_numbers(given, started, town, tmp_path, recipe):
    small = ["--model=vgg16_mac", "--image_size=32,48", "--train_from=conv1", f"--recipe={recipe}"]
    settings = started(given(*small))
    train = open_splits(town)["train"]
    images = len(train.database) + len(train.queries) * settings.database_queries
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())
    assert recorded["dim"] == images // 2 < min(128, images)
    assert recorded["negatives"] == settings.negatives <= len(train.database)
    assert started(given(*small, "--resume")) == settings
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == recorded


def test_run_is_resumed_with_its_own_settings_where_none_are_given(given, started, tmp_path):
    own = ["--image_size=32,48", "--train_from=conv1", "--dim=4"]
    settings = started(given(*own, "--recipe=few_photos", "--learning_rate=0.5", "--epochs=7", "--loss=triplet"))
    assert started(given("--resume")) == settings
    assert started(given("--resume", "--learning_rate=0.25")).learning_rate == 0.25
    assert json.loads((tmp_path / "run" / "run.json").read_text())["changes"] == [
        {"epoch": 0, "step": 0, "settings": {"learning_rate": 0.25}}
    ]
    with pytest.raises(ValueError, match="Received: loss: 'triplet' before, 'contrastive' now"):
        pitts.run(given("--resume", "--loss=contrastive"))


def test_run_whose_numbers_no_longer_fit_the_images_is_not_resumed(given, started, monkeypatch, tmp_path):
    own = ["--image_size=32,48", "--train_from=conv1", "--dim=1"]
    started(given(*own))
    before = (tmp_path / "run" / "run.json").read_text()
    few = line_of_places(4)
    for i, path in enumerate(few.paths):
        Image.new("RGB", (48, 32), (20 * i, 40, 60)).save(tmp_path / path, "PNG")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place_checks, "open_splits", lambda *_: dict.fromkeys(("train", "val", "test"), few))
    with pytest.raises(ValueError, match="Received: .*negatives: 10 before, 3 now"):
        pitts.run(given("--resume"))
    assert (tmp_path / "run" / "run.json").read_text() == before


def test_run_of_an_earlier_version_goes_on_as_it_was_made(given, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.write_settings({"epochs": 7, "loss": "triplet", "root": "photos"})
    values = given("--recipe=pitts30k", "--resume", "--epochs=9").completed(RECIPES["pitts30k"].given_settings)
    values = with_run_settings(values)
    chosen = values.epochs, values.loss, values.loss_scale, values.keep_untrained, values.orientation
    assert chosen == (9, "triplet", "tuple", True, "stored")
    run.check({**run.settings, "loss_scale": "tuple", "keep_untrained": True, "orientation": "stored"}, resume=True)
    with pytest.raises(ValueError, match="Received: loss_scale: 'tuple' before, 'published' now"):
        run.check({**run.settings, "loss_scale": "published"}, resume=True)
