"""Fine-tuning from a model of the user's own."""

import csv
import json

import keras
import numpy as np
import pytest

from keras_sare.layers import NetVLAD, Whitening
from keras_sare.models import with_whitening
from keras_sare.training import RunFolder
from trainers import pitts
from trainers.config import PittsConfig
from trainers.config.flags import parse
from trainers.stages.starting_model import open_start

DIM = 12
"""Of the descriptors before whitening: 3 clusters of 4 channels."""


def own_model():
    """Trained clusters, and preprocessing and layers that no preset has."""
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, 3), name="photos")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(images)
    x = keras.layers.Conv2D(8, 4, strides=4, activation="relu", name="stem")(x)
    x = keras.layers.Conv2D(4, 3, name="last")(x)
    layer = NetVLAD(3, name="netvlad")
    model = keras.Model(images, layer(x), name="own")
    layer.set_clusters(np.random.default_rng(0).normal(size=(3, 4)).astype("float32"), 30.0)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`own.keras`, and `whitened.keras`, the same with a fitted whitening."""
    folder = tmp_path_factory.mktemp("own")
    model = own_model()
    model.save(folder / "own.keras")
    projection = np.random.default_rng(1).normal(size=(DIM, 5)).astype("float32")
    with_whitening(model, projection, np.zeros(5), 5).save(folder / "whitened.keras")
    return folder


@pytest.fixture
def train(town, tmp_path, without_pictures, unread_images):
    """Runs the program in a folder, and returns the run."""

    def train(name, *given):
        chosen = [f"--root={town}", f"--output={tmp_path / name}", "--image_size=32,48", "--dim=6"]
        pitts.run(parse(PittsConfig, [*chosen, "--train_from=last", "--negatives=2", *given])[0])
        return RunFolder(tmp_path / name)

    return train


def recalls(run):
    return {name: report["recalls"] for name, report in json.loads((run.path / "recall.json").read_text()).items()}


def epochs(run):
    return [row["epoch"] for row in csv.DictReader((run.path / "log.csv").read_text().splitlines())]


def test_whitened_model_is_taken_as_it_is_but_for_its_whitening_and_without_epochs_only_measured(train, folder):
    run = train("run", f"--weights={folder / 'whitened.keras'}", "--epochs=0", "--whitening=pca")
    own = keras.saving.load_model(folder / "own.keras")
    before = keras.saving.load_model(run.off_the_shelf)
    for a, b in zip(own.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # The clusters among them.
    whitened = run.load_model()
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 48, 3)).astype("float32")
    np.testing.assert_array_equal(keras.Model(whitened.input, whitened.layers[-1].input)(images), own(images))
    assert (whitened.output.shape, whitened.name) == ((None, 6), "own")
    assert epochs(run) == ["0"]
    shown = recalls(run)
    assert list(shown) == ["off the shelf", "untrained (epoch 0)", "untrained (epoch 0), whitened to 6-D"]
    assert shown["off the shelf"] == shown["untrained (epoch 0)"]
    assert [run.settings[name] for name in ("model", "clusters", "preprocessing")] == [None, None, None]

    more = train("run", f"--weights={folder / 'whitened.keras'}", "--epochs=1", "--resume")
    assert epochs(more) == ["0", "1"]


def test_projection_that_is_trained_with_the_model_stays(folder, tmp_path):
    model = own_model()
    keras.Model(model.input, Whitening(5, end_to_end=True)(model.output)).save(tmp_path / "projected.keras")
    assert open_start(str(tmp_path / "projected.keras"), (32, 48)).output.shape == (None, 5)
    assert open_start(str(folder / "whitened.keras"), (32, 48)).output.shape == (None, DIM)


def test_mixed_precision_of_the_file_is_not_that_of_the_run(folder, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        own_model().save(tmp_path / "mixed.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    opened = open_start(str(tmp_path / "mixed.keras"), (32, 48))
    assert {opened.get_layer(name).compute_dtype for name in ("scale", "stem", "last")} == {"float32"}


@pytest.mark.parametrize(("name", "value"), [("model", "vgg16_mac"), ("clusters", 64), ("preprocessing", "torch")])
def test_setting_that_contradicts_the_file_is_refused(name, value):
    needed = {"root": "photos", "output": "run", name: value}
    with pytest.raises(ValueError, match=f"`{name}` must not be given with a .keras file.*leave out --{name}. Rec"):
        PittsConfig(weights="own.keras", **needed).check()
    PittsConfig(weights="vgg16.h5", **needed).check()
    PittsConfig(weights="imagenet", **needed).check()


def test_contradiction_is_found_before_anything_is_read(train):
    with pytest.raises(ValueError, match="`clusters` must not be given with a .keras file"):
        train("run", "--weights=nowhere.keras", "--clusters=64")


def test_model_that_gives_no_descriptors_is_refused(tmp_path):
    images = keras.Input((None, None, 3))
    keras.Model(images, keras.layers.GlobalAveragePooling2D()(images)).save(tmp_path / "mean.keras")
    with pytest.raises(ValueError, match="must give one descriptor of norm 1.*images of 32 x 48"):
        open_start(str(tmp_path / "mean.keras"), (32, 48))
    with pytest.raises(FileNotFoundError, match="must name an existing .keras file"):
        open_start(str(tmp_path / "nowhere.keras"), (32, 48))
