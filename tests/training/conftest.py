import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.layers import NetVLAD
from keras_sare.losses import SARELoss
from keras_sare.models import initialise_netvlad
from keras_sare.training import Places, StoredInputs, Trainer, TrainingSettings, image_inputs

SIZE = (12, 16)


@pytest.fixture
def settings():
    return TrainingSettings(
        epochs=3, tuples_per_step=2, negatives=2, negative_pool=6, learning_rate=0.05, refresh_every=4
    )


def make_dataset(folder: Path, name: str, places: int, seed: int) -> PlaceDataset:
    """Places 40 m apart along a line: a pattern of colours, seen once by the database and once, 3 m off, darker."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    sides = {}
    for role, offset, light in (("database", 0.0, 1.0), ("query", 3.0, 0.6)):
        rng = np.random.default_rng(seed)
        paths = []
        for place in range(places):
            pattern = rng.integers(0, 255, (3, 4, 3)).repeat(4, 0).repeat(4, 1)
            noise = np.random.default_rng([place, int(offset)]).integers(-30, 30, pattern.shape)
            path = folder / f"{name}_{role}_{place}.png"
            Image.fromarray(np.clip(pattern * light + noise, 0, 255).astype("uint8")).save(path)
            paths.append(str(path))
        sides[role] = ImageSet(paths, np.stack([40.0 * np.arange(places) + offset, np.zeros(places)], axis=1))
    return PlaceDataset(name, sides["database"], sides["query"])


@pytest.fixture
def make_places(tmp_path, settings):
    def make(name: str, places: int, seed: int, settings: TrainingSettings = settings) -> Places:
        dataset = make_dataset(tmp_path / "photos", name, places, seed)
        return Places(dataset, image_inputs(dataset, SIZE), settings, tmp_path / "spill")

    return make


@pytest.fixture
def make_model():
    """A small NetVLAD model, the same at every call, under any strategy."""

    def make(strategy: tf.distribute.Strategy | None = None, initialise: bool = True) -> keras.Model:
        keras.utils.set_random_seed(3)
        with (strategy or tf.distribute.get_strategy()).scope():
            inputs = keras.Input((None, None, 3), name="images")
            x = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
            x = keras.layers.Conv2D(8, 3, activation="relu", name="conv1")(x)
            x = keras.layers.Conv2D(8, 3, name="conv2")(x)
            model = keras.Model(inputs, NetVLAD(3, name="netvlad")(x))
        if initialise:
            photos = np.random.default_rng(0).integers(0, 255, (4, *SIZE, 3)).astype("float32")
            initialise_netvlad(model, [photos])
        return model

    return make


def small_trainer(
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
    loss: SARELoss | None = None,
    dropout: float = 0.1,
    **changed,
) -> Trainer:
    """A run on arrays, which starts fast: six steps of two tuples an epoch, two steps a window."""
    settings = TrainingSettings(3, 2, 2, 6, learning_rate=0.05, refresh_every=4, select_by=1)
    settings = dataclasses.replace(settings, **changed)

    def places(name: str, count: int, seed: int) -> Places:
        rng = np.random.default_rng(seed)
        patterns = rng.normal(size=(count, 6))
        photos = np.concatenate([patterns + 0.6 * rng.normal(size=patterns.shape) for _ in range(2)])
        positions = np.stack([40.0 * np.arange(count), np.zeros(count)], axis=1)
        sides = [ImageSet([f"{name}_{role}_{i}" for i in range(count)], positions) for role in ("database", "query")]
        dataset = PlaceDataset(name, sides[0], dataclasses.replace(sides[1], positions=positions + 3.0))
        return Places(dataset, StoredInputs(photos.astype("float32")), settings, folder / "spill", stored=True)

    strategy = strategy or tf.distribute.get_strategy()
    keras.utils.set_random_seed(3)
    with strategy.scope():
        inputs = keras.Input((6,))
        x = keras.layers.Dropout(dropout, name="drop")(keras.layers.Dense(8, name="hidden")(inputs))
        model = keras.Model(inputs, keras.layers.UnitNormalization()(keras.layers.Dense(5, name="last")(x)))
    return Trainer(model, loss or SARELoss(), places("train", 12, 0), places("val", 8, 1), settings, folder, strategy)


@pytest.fixture
def make_small_trainer(tmp_path, monkeypatch):
    """`small_trainer` in a folder of the test's own; without the picture, which takes longer than an epoch."""
    monkeypatch.setattr("keras_sare.training.logs.draw_training", lambda *_: None)

    def make(name: str = "run", **changed) -> Trainer:
        return small_trainer(tmp_path / name, **changed)

    return make
