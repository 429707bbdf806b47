"""A model's file is read after `import keras_sare` alone, whichever of keras_sare and Keras is imported first."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from keras_sare import layers
from keras_sare.losses import SARELoss
from keras_sare.models import with_whitening

POOLINGS = {
    "netvlad": lambda: layers.NetVLAD(3),
    "gem": layers.GeM,
    "mac": layers.MAC,
    "spoc": layers.SPoC,
    "crow": layers.CroW,
    "rmac": lambda: layers.RMAC(whitening_dim=4),
    "mixvpr": lambda: layers.MixVPR((3, 3), 1, channels=4, rows=2),
    "convap": lambda: layers.ConvAP(4),
    "salad": lambda: layers.SALAD(3, 4, 2, 8),
}

IMPORTS = {
    "keras_sare first": "import keras_sare, keras",
    "through TensorFlow": "import keras_sare; import tensorflow as tf; keras = tf.keras",
    "layers first": "from keras_sare.layers import NetVLAD; import keras",
}


def model_of(*poolings):
    images = keras.Input((None, None, 3))
    prepared = layers.ImagePreprocessing((1, 2, 3), (4, 5, 6))(images)
    features = keras.layers.Conv2D(6, 3)(prepared)
    descriptors = [pooling()(features) for pooling in poolings]
    return keras.Model(images, descriptors if len(descriptors) > 1 else descriptors[0])


def without_what_is_new(path):
    """Takes from a file's configuration what earlier versions did not write."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    del next(layer for layer in config["config"]["layers"] if layer["class_name"] == "NetVLAD")["config"][
        "normalization"
    ]
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {**parts, "config.json": json.dumps(config)}.items():
            archive.writestr(name, part)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model_of(*POOLINGS.values()).save(folder / "all.keras")
    earlier = model_of(POOLINGS["netvlad"])
    earlier.save(folder / "earlier.keras")
    without_what_is_new(folder / "earlier.keras")
    whitened = with_whitening(earlier, np.eye(18, 4), np.zeros(4), 4)
    whitened.compile("sgd", SARELoss(mode="joint"))
    whitened.save(folder / "whitened.keras")
    return folder


@pytest.mark.parametrize("imports", IMPORTS)
def test_models_of_every_family_are_read_after_one_import(folder, imports):
    program = f"{IMPORTS[imports]}\nimport sys\nfor file in sys.argv[1:]: keras.models.load_model(file)"
    files = [str(file) for file in folder.iterdir()]
    assert len(files) == 3
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_layers_of_the_earlier_file_have_the_defaults_and_its_loss_comes_back(folder):
    earlier = keras.saving.load_model(folder / "earlier.keras")
    assert earlier.layers[-1].get_config() == model_of(POOLINGS["netvlad"]).layers[-1].get_config() | {
        "name": earlier.layers[-1].name
    }
    assert keras.saving.load_model(folder / "whitened.keras").loss.mode == "joint"
