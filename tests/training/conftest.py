import dataclasses
import functools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.extraction import ImageInputs, StoredInputs
from keras_sare.layers import NetVLAD
from keras_sare.losses import SARELoss
from keras_sare.models import initialise_netvlad
from keras_sare.training import Places, PlaceSettings, RecallValidation, SfMPhotos, SfMSettings, Trainer

SIZE = (12, 16)


@pytest.fixture
def settings():
    return PlaceSettings(epochs=3, tuples_per_step=2, negatives=2, negative_pool=6, learning_rate=0.05, refresh_every=4)


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
            path = folder / f"{name}_{role}_{place}.jpg"
            photo = Image.fromarray(np.clip(pattern * light + noise, 0, 255).astype("uint8"))
            photo.save(path, quality=95, subsampling=0)
            paths.append(str(path))
        sides[role] = ImageSet(paths, np.stack([40.0 * np.arange(places) + offset, np.zeros(places)], axis=1))
    return PlaceDataset(name, sides["database"], sides["query"])


@pytest.fixture
def make_places(tmp_path, settings):
    def make(name: str, places: int, seed: int, settings: PlaceSettings = settings) -> Places:
        dataset = make_dataset(tmp_path / "photos", name, places, seed)
        return Places(dataset, ImageInputs(dataset.paths, SIZE), settings, tmp_path / "spill")

    return make


def small_netvlad(strategy: tf.distribute.Strategy) -> keras.Model:
    random.seed(3)  # What Keras draws from; TensorFlow would prepare every function anew after a seed of its own.
    with strategy.scope():
        inputs = keras.Input((None, None, 3), name="images")
        x = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
        x = keras.layers.Conv2D(8, 3, activation="relu", name="conv1")(x)
        x = keras.layers.Conv2D(8, 3, name="conv2")(x)
        return keras.Model(inputs, NetVLAD(3, name="netvlad")(x))


@functools.cache
def clustered_weights() -> list[np.ndarray]:
    """Of `small_netvlad` with clusters, which take longer to find than all the rest of it."""
    model = small_netvlad(tf.distribute.get_strategy())
    photos = np.random.default_rng(0).integers(0, 255, (4, *SIZE, 3)).astype("float32")
    initialise_netvlad(model, [photos])
    return model.get_weights()


@pytest.fixture
def make_model():
    """A small NetVLAD model, the same at every call, under any strategy."""

    def make(strategy: tf.distribute.Strategy | None = None, initialise: bool = True) -> keras.Model:
        weights = clustered_weights() if initialise else None
        model = small_netvlad(strategy or tf.distribute.get_strategy())
        if weights:
            model.set_weights(weights)
        return model

    return make


def make_sfm_dataset(folder: Path, name: str, models: int, seed: int) -> SfMDataset:
    """Four photos of each of some patterns, each darker; each sees a point that the one before sees, and two others."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for model in range(models):
        pattern = rng.integers(0, 255, (3, 4, 3)).repeat(4, 0).repeat(4, 1)
        for view in range(4):
            noise = rng.integers(-60, 60, pattern.shape)
            path = folder / f"{name}_{model}_{view}.jpg"
            photo = Image.fromarray(np.clip(pattern * (1 - 0.2 * view) + noise, 0, 255).astype("uint8"))
            photo.save(path, quality=95, subsampling=0)
            paths.append(str(path))
    images = np.arange(4 * models)
    # From model to model the points' ids have a gap, so that the last photo of one shares none with the next model's.
    points = (2 * images + 10 * (images // 4))[:, None] + np.arange(3)
    return SfMDataset(
        name,
        paths,
        models=images // 4,
        clusters=images // 4,
        centres=np.stack([images % 4, 0 * images, 0 * images], axis=1).astype(float),
        point_starts=3 * np.arange(len(images) + 1),
        points=points.ravel(),
        scales=np.ones(points.size, np.float32),
    )


@pytest.fixture
def make_sfm_photos(tmp_path):
    def make(name: str, models: int, seed: int, **changed) -> SfMPhotos:
        chosen = {"epochs": 2, "tuples_per_step": 2, "negatives": 2, "learning_rate": 0.05, "mine_times": 2}
        settings = SfMSettings(**{"positive": "m2", **chosen, **changed})
        dataset = make_sfm_dataset(tmp_path / "photos", name, models, seed)
        return SfMPhotos(dataset, ImageInputs(dataset.paths, SIZE), settings, tmp_path / "spill")

    return make


def small_trainer(
    folder: Path,
    strategy: tf.distribute.Strategy | None = None,
    loss: SARELoss | None = None,
    dropout: float = 0.1,
    **changed,
) -> Trainer:
    """A run on arrays, which starts fast: six steps of two tuples an epoch, two steps a window."""
    settings = PlaceSettings(3, 2, 2, learning_rate=0.05, negative_pool=6, refresh_every=4, select_by=1)
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
    random.seed(3)  # What Keras draws from; TensorFlow would prepare every function anew after a seed of its own.
    with strategy.scope():
        inputs = keras.Input((6,))
        x = keras.layers.Dropout(dropout, name="drop")(keras.layers.Dense(8, name="hidden")(inputs))
        model = keras.Model(inputs, keras.layers.UnitNormalization()(keras.layers.Dense(5, name="last")(x)))
    validation = RecallValidation(places("val", 8, 1))
    return Trainer(model, loss or SARELoss(), places("train", 12, 0), validation, folder, strategy)


@contextmanager
def undrawn() -> Iterator[None]:
    """Without the picture of a run, which takes longer to draw than an epoch to train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_sare.training.logs.draw_training", lambda *_: None)
        yield


@pytest.fixture
def without_picture():
    with undrawn():
        yield


@pytest.fixture
def make_small_trainer(tmp_path, without_picture):
    """`small_trainer` in a folder of the test's own; without the picture."""

    def make(name: str = "run", **changed) -> Trainer:
        return small_trainer(tmp_path / name, **changed)

    return make


@pytest.fixture(scope="module")
def train_shared(tmp_path_factory):
    """Trains a `small_trainer` that several tests look at, after `prepare` has seen it; without the picture."""

    def train(prepare: Callable[[Trainer], object] = lambda _: None, **changed) -> Trainer:
        trainer = small_trainer(tmp_path_factory.mktemp("shared"), **changed)
        prepare(trainer)
        with undrawn():
            trainer.fit()
        return trainer

    return train
