"""Models of every kind, of one network: an evaluation must find them equal, or say by name what is wrong with one."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from export.converters.onnx_model import write_onnx
from export.converters.saved_model import SavedModelOptions, write_saved_model
from export.converters.tflite import write_tflite
from export.source import open_source
from keras_sare.datasets import open_dataset
from keras_sare.extraction import extract
from keras_sare.layers import MAC
from keras_sare.models import load_weights_from
from keras_sare.models.importers.formats.torch_file import write_torch
from keras_sare.models.importers.torchvision import ALEXNET
from serving.descriptors.descriptor_model import DescriptorModel
from serving.descriptors.resumable import DescriptorFiles
from serving.descriptors.stored import StoredDescriptors
from serving.models.manager import ModelManager
from serving.rpc.server import ModelServer
from trainers import evaluate
from trainers.config import EvaluateConfig


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of one small network: `.keras`, SavedModel, TFLite and ONNX file."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(16, 5, activation="relu")(keras.layers.Rescaling(1 / 64, -2)(images))
    keras.Model(images, MAC()(features), name="small_mac").save(folder / "small.keras")
    source = open_source(model=str(folder / "small.keras"), size=(32, 48))
    write_saved_model(source, folder / "served" / "1", SavedModelOptions(warmup=False))
    write_tflite(source, folder / "device.tflite", "float32")
    write_onnx(source, folder / "anywhere.onnx")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """AlexNet's features, drawn at random, as torchvision names them."""
    path = tmp_path_factory.mktemp("checkpoint") / "alexnet.pth"
    rng = np.random.default_rng(2)
    shapes = [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]
    state = {}
    for place, shape in zip(ALEXNET, shapes, strict=True):
        kernel = rng.standard_normal(shape, np.float32) * (2 / np.prod(shape[1:])) ** 0.5
        state |= {f"features.{place}.weight": kernel, f"features.{place}.bias": np.zeros(shape[0], np.float32)}
    write_torch(path, state)
    return path


@pytest.fixture(scope="module")
def descriptors(models, town):
    """Of the test split, by file: the database's, then the queries'."""
    paths = open_dataset(town, "test").paths
    return paths, extract(keras.saving.load_model(models / "small.keras"), paths, (32, 48))


def write_npy(path, names, rows):
    np.save(path, rows)
    path.with_suffix(".txt").write_text("".join(f"{name}\n" for name in names))
    return str(path)


def write_hloc(path, names, rows):
    with h5py.File(path, "w") as file:
        for name, row in zip(names, rows, strict=True):
            file.create_group(name)["global_descriptor"] = row
    return str(path)


def evaluated(town, output, *words, **settings):
    evaluate.run(EvaluateConfig(models=tuple(map(str, words)), root=str(town), output=str(output), **settings))
    return json.loads((output / "recall.json").read_text())


def test_one_network_has_one_recall_whatever_it_is_kept_in(models, town, descriptors, tmp_path, without_pictures):
    paths, rows = descriptors
    names = [os.path.relpath(path, town) for path in paths]
    backwards = slice(None, None, -1)  # Rows are found by name, in any order.
    stored = [
        write_npy(tmp_path / "stored.npy", names[backwards], rows[backwards]),
        write_hloc(tmp_path / "hloc.h5", names, rows),
    ]
    server = ModelServer(ModelManager.from_folder("small", models / "served"), port=0)
    server.start()
    try:
        kinds = [models / name for name in ("small.keras", "served", "device.tflite", "anywhere.onnx")] + stored
        words = [*kinds, f"grpc://{server.address}/small"]
        recalls = evaluated(town, tmp_path / "out", *words, image_size=("32", "48"))
    finally:
        server.stop(grace=0)
    first, *others = (report["recalls"] for report in recalls.values())
    assert list(recalls) == ["small", "served/1", "device", "anywhere", "stored", "hloc", f"{server.address}/small"]
    assert others == [first] * 6
    assert 0 < first[0] < 1


def test_checkpoint_of_another_project_has_the_recall_of_its_model(checkpoint, town, tmp_path, without_pictures):
    load_weights_from(checkpoint, preset="alexnet_mac").save(tmp_path / "own.keras")
    options = {"preset": "alexnet_mac", "image_size": ("64", "96")}
    recalls = evaluated(town, tmp_path / "out", checkpoint, tmp_path / "own.keras", **options)
    theirs, own = (report["recalls"] for report in recalls.values())
    assert list(recalls) == ["alexnet", "own"]
    assert theirs == own
    assert 0 < own[0] < 1
    with pytest.raises(ValueError, match="`preset` must name the pooling"):
        evaluated(town, tmp_path / "out", checkpoint, image_size=("64", "96"))


def test_stored_descriptors_need_no_images(town, descriptors, tmp_path, without_pictures):
    paths, rows = descriptors
    bare = tmp_path / "bare"
    (bare / "images").mkdir(parents=True)
    (bare / "queries").mkdir()
    (bare / "places.csv").write_bytes((town / "places.csv").read_bytes())
    names = [os.path.relpath(path, town) for path in paths]
    stored = write_npy(tmp_path / "stored.npy", names, rows)
    assert evaluated(bare, tmp_path / "out", stored)["stored"]["queries"] > 0


def test_sides_of_different_lengths_are_refused_by_name(town, descriptors, tmp_path):
    """As after an extraction by two versions of a model."""
    paths, rows = descriptors
    queries = set(open_dataset(town, "test").queries.paths.tolist())
    names = [os.path.relpath(path, town) for path in paths]
    mixed = [row if path in queries else np.eye(1, 9)[0] for path, row in zip(paths.tolist(), rows, strict=True)]
    stored = write_hloc(tmp_path / "mixed.h5", names, mixed)
    with pytest.raises(ValueError, match="Received: mixed with 16 numbers for queries and 9 for database images"):
        evaluated(town, tmp_path / "out", stored)


@dataclass(frozen=True, eq=False)
class Counting(DescriptorModel):
    """Gives the row of each path's number, and stops like a killed process after so many."""

    most: int = field(kw_only=True)
    asked: list = field(default_factory=list, kw_only=True)

    def extract(self, paths, batch_size, out):
        for start in range(0, len(paths), batch_size):
            if start >= self.most:
                raise KeyboardInterrupt
            numbers = np.array([int(path.rpartition("/")[2]) for path in paths[start : start + batch_size]])
            self.asked.extend(numbers.tolist())
            out[np.arange(start, start + len(numbers))] = np.eye(20, dtype=np.float32)[numbers]


def test_broken_off_extraction_goes_on_with_what_is_missing(tmp_path):
    paths = np.array([str(tmp_path / f"{number}") for number in range(20)], np.dtypes.StringDType())
    with pytest.raises(KeyboardInterrupt):
        DescriptorFiles(tmp_path / "out").of(Counting("one", "a", None, most=9), paths, 3)
    second = Counting("one", "a", None, most=99)
    np.testing.assert_array_equal(DescriptorFiles(tmp_path / "out").of(second, paths, 3), np.eye(20))
    assert second.asked == list(range(9, 20))
    assert DescriptorFiles(tmp_path / "out").cost(second, paths).images == 20
    again = Counting("one", "a", None, most=0)
    np.testing.assert_array_equal(DescriptorFiles(tmp_path / "out").of(again, paths, 3), np.eye(20))
    other = Counting("one", "b", None, most=99)  # Another model is not taken for the first.
    DescriptorFiles(tmp_path / "out").of(other, paths, 3)
    (tmp_path / "4").write_text("Nor is another file.")
    changed = Counting("one", "a", None, most=99)
    DescriptorFiles(tmp_path / "out").of(changed, paths, 3)
    assert len(other.asked) == len(changed.asked) == 20
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == ["", *[".json"] * 3, *[".npy"] * 3]


def test_descriptors_of_another_length_order_or_count_are_refused_by_name(tmp_path):
    paths = np.array(["/data/a/1.jpg", "/data/b/1.jpg", "/data/b/2.jpg"], np.dtypes.StringDType())
    names = ["a/1.jpg", "b/1.jpg", "b/2.jpg"]
    good = np.eye(3, 4, dtype=np.float32)
    wrong = [
        (names[:2], good[:2], r"has none of 1 of 3, for example of '/data/b/2.jpg'"),
        (["1.jpg", "2.jpg"], good[:2], r"'1.jpg' may be '/data/a/1.jpg' or '/data/b/1.jpg'"),
        (names, good * [[1], [2], [1]], r"'/data/b/1.jpg': 4 numbers, norm 2"),
        (names, good * [[1], [1], [np.nan]], r"'/data/b/2.jpg': 4 numbers, norm nan"),
        (names, good[:2], r"one row for each line of x.txt. Received: float32 \(2, 4\), 3 lines"),
        ([*names[:2], "./b/1.jpg"], good, r"must name every image once. Received: './b/1.jpg' twice"),
        (names, good.astype(int), r"must hold numbers \[images, dim\].* Received: int64"),
    ]
    for listed, rows, message in wrong:
        path = Path(write_npy(tmp_path / "x.npy", listed, rows))
        with pytest.raises(ValueError, match=message):
            StoredDescriptors.open(path).extract(paths, 2, np.empty((3, 4), np.float32))
    path = Path(write_hloc(tmp_path / "y.h5", names, [good[0], good[1], np.eye(1, 3)[0]]))
    for batch_size in (1, 2, 3):
        with pytest.raises(ValueError, match=r"'/data/b/2.jpg': 3 numbers, norm 1, after others of 4 numbers"):
            StoredDescriptors.open(path).extract(paths, batch_size, np.empty((3, 4), np.float32))


def test_what_no_model_is_says_what_would_be_one(town, models, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("no")
    np.save(tmp_path / "bare.npy", np.eye(3))
    wrong = [
        (tmp_path / "missing", FileNotFoundError, "must name a .keras file, .*which does not exist"),
        (tmp_path / "empty", ValueError, "must name a .keras file, .*a folder of something else"),
        (tmp_path / "text.h5", ValueError, "text.h5' must be an HDF5 file"),
        (tmp_path / "missing.h5", FileNotFoundError, "must name existing files"),
        (tmp_path / "bare.npy", FileNotFoundError, "names of its images beside it, one a line, in bare.txt"),
        (models / "device.tflite", ValueError, "`image_size` must be given"),
        ("grpc://localhost:1", RuntimeError, "UNAVAILABLE"),
    ]
    for word, error, message in wrong:
        with pytest.raises(error, match=message):
            evaluated(town, tmp_path / "out", word)
    with pytest.raises(ValueError, match="`models` must differ in their names. Received: small, small"):
        evaluated(town, tmp_path / "out", *[models / "small.keras"] * 2, image_size=("32", "48"))
