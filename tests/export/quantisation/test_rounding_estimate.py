import itertools

import keras
import numpy as np
import pytest

from export.quantisation.rounding_estimate import rounding_seconds


@pytest.fixture
def model():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="second")(x)
    return keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))


def test_estimate_adds_up_what_one_photo_and_one_product_took(model, monkeypatch):
    # By this clock a photo and a product take a second each.
    monkeypatch.setattr("export.quantisation.rounding_estimate.time.monotonic", itertools.count().__next__)
    layers = [model.get_layer(name) for name in ("first", "second")]
    operation = 1 / 1024**3
    expected = {"first": (27, 4, 20 * 30, 0.5), "second": (36, 8, 10 * 15, 1.0)}
    seconds = 0.0
    for size, outputs, positions, share in expected.values():
        seconds += 5 * (share + min(positions, 400) * size**2 * operation)
        seconds += (8 / 3 * size**3 + size**2 * outputs) * operation
    photo = np.zeros((1, 20, 30, 3), "float32")
    assert rounding_seconds(model, layers, photo, 5, 400) == pytest.approx(seconds)
