"""A model small enough that tests can build indexes with it."""

from pathlib import Path

import keras
import pytest

from keras_sare.layers import MAC


@pytest.fixture(scope="package")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(32, 8, strides=8, activation="relu")(keras.layers.Rescaling(1 / 64, -2)(images))
    path = tmp_path_factory.mktemp("model") / "small.keras"
    keras.Model(images, MAC()(features), name="small_mac").save(path)
    return path
