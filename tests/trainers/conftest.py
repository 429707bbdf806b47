import contextlib
import json
import pickle
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import LandmarkDataset, PlaceDataset, SfMDataset
from keras_sare.datasets.town.town import render_town
from keras_sare.layers import NetVLAD
from keras_sare.models import build
from keras_sare.models.backbones.vgg16 import write_npz

PICTURES = (
    "training.logs.draw_training",
    "evaluation.place_report.draw_matches",
    "evaluation.report_files.recall_curves",
    "evaluation.comparisons.retrieval_comparison.draw_reranking",
    "evaluation.retrieval_files.retrieval_bars",
    "evaluation.retrieval_files.dimension_curves",
)
"""Functions that draw what a run shows, in `keras_sare`."""


@contextlib.contextmanager
def without_drawing():
    with pytest.MonkeyPatch.context() as patch:
        for name in PICTURES:
            patch.setattr(f"keras_sare.{name}", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session")
def undrawn():
    """Context in which no pictures are drawn: they take longer than all the rest of a small run."""
    return without_drawing


@pytest.fixture
def without_pictures(undrawn):
    """The same for a whole test."""
    with undrawn():
        yield


@pytest.fixture
def unread_images(monkeypatch):
    """Takes every image for one that can be read: to find out takes longer than all else before a training."""
    for dataset in (PlaceDataset, SfMDataset, LandmarkDataset):
        monkeypatch.setattr(dataset, "check_images", lambda data, *_: data)


@pytest.fixture(scope="session")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town") / "town"
    render_town(folder, seed=1, image_size=(32, 48), train_places=10, val_places=5, test_places=5)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Random VGG16 weights: what is tested here does not depend on them.

    Without a mean over the input channels: else every layer's ReLU makes all images a little more alike, and after
    thirteen of them there is nothing left to whiten.
    """
    keras.utils.set_random_seed(5)
    path = tmp_path_factory.mktemp("weights") / "vgg16.npz"
    layers = [layer for layer in build("vgg16_mac", weights=None).layers if "conv" in layer.name]
    pairs = [layer.get_weights() for layer in layers]
    write_npz(path, [(kernel - kernel.mean(axis=2, keepdims=True), bias) for kernel, bias in pairs])
    return path


@pytest.fixture(scope="session")
def small_start(tmp_path_factory):
    """A whole model to start from, whose NetVLAD has no clusters yet: programs run in seconds with it."""
    return save_small_model(tmp_path_factory.mktemp("start") / "small.keras", "conv2")


@pytest.fixture(scope="session")
def demo_start(tmp_path_factory):
    """The same for `trainers.demo`, which trains from the layer that the papers name."""
    return save_small_model(tmp_path_factory.mktemp("start") / "small.keras", "conv5_1")


def save_small_model(path, last):
    """Saves a model of two convolutions and NetVLAD, the second one called `last`."""
    keras.utils.set_random_seed(4)
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(images)
    x = keras.layers.Conv2D(16, 4, strides=4, activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(16, 3, padding="same", name=last)(x)
    keras.Model(images, NetVLAD(4, name="netvlad")(x), name="small").save(path)
    return path


@pytest.fixture(scope="session")
def retrieval_photos(tmp_path_factory):
    """`sfm.npz` of 8 buildings of 4 photos, and beside it a test set of 4 others in `toy`, 12 more photos in `more`."""
    folder = tmp_path_factory.mktemp("retrieval")
    buildings = take_photos(folder, "building", 8, 4, seed=0)
    images = np.arange(len(buildings))
    # Each photo shares two of four points with the next one of its building.
    points = (2 * images + 20 * (images // 4))[:, None] + np.arange(4)
    SfMDataset(
        "buildings",
        buildings,
        models=images // 4,
        clusters=images // 4,
        centres=np.stack([images % 4, 0 * images, 0 * images], axis=1).astype(float),
        point_starts=4 * np.arange(len(images) + 1),
        points=points.ravel(),
        scales=np.ones(points.size, np.float32),
    ).save(folder / "sfm.npz")
    names = [Path(path).stem for path in take_photos(folder / "toy" / "images", "landmark", 4, 4, seed=1)]
    truth = [{"bbx": [8, 8, 56, 40], "easy": [3 * k, 3 * k + 1], "hard": [3 * k + 2], "junk": []} for k in range(4)]
    database = [name for name in names if not name.endswith("_0")]
    listing = {"imlist": database, "qimlist": [name for name in names if name.endswith("_0")], "gnd": truth}
    (folder / "toy" / "gnd_toy.json").write_text(json.dumps(listing))
    take_photos(folder / "more", "more", 12, 1, seed=2)
    return folder


@pytest.fixture
def published(retrieval_photos, tmp_path):
    """A list as published: 6 buildings of 2 photos to train on, 2 others to validate on, files in `ims` beside it."""

    def split(buildings, queries):
        cids = [f"{building}{view:015x}" for building in buildings for view in range(2)]
        for i, cid in enumerate(cids):
            file = tmp_path / "ims" / cid[-2:] / cid[-4:-2] / cid[-6:-4] / cid
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(retrieval_photos / f"building_{buildings[i // 2]}_{i % 2}.png", file)
        clusters = [i // 2 for i in range(len(cids))]
        return {"cids": cids, "cluster": clusters, "qidxs": queries, "pidxs": [i ^ 1 for i in queries], "bbxs": None}

    lists = {"train": split(range(6), [0, 2, 4, 6, 8, 10]), "val": split(range(6, 8), [1, 3])}
    (tmp_path / "published.pkl").write_bytes(pickle.dumps(lists, 2))
    return tmp_path / "published.pkl"


def take_photos(folder, name, buildings, views, seed):
    """Photos of some buildings, each a pattern of colours, that grow darker from view to view."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for building in range(buildings):
        pattern = rng.integers(0, 255, (6, 8, 3)).repeat(8, 0).repeat(8, 1)
        for view in range(views):
            photo = pattern * (1 - 0.15 * view) + rng.integers(-60, 60, pattern.shape)
            paths.append(str(folder / f"{name}_{building}_{view}.png"))
            Image.fromarray(np.clip(photo, 0, 255).astype("uint8")).save(paths[-1])
    return paths
