import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.layers import ConvAP


def features(height=7, width=5, channels=6):
    return np.random.RandomState(1).normal(size=(2, height, width, channels)).astype("float32")


def with_weights(layer, channels=6):
    """Draws the weights in the order and the shapes of make_aggregators_oracle.py."""
    layer.build((None, None, None, channels))
    random = np.random.RandomState(2)
    layer.set_weights([0.3 * random.normal(size=w.shape[::-1]).T for w in layer.get_weights()])
    return layer


def naive_convap(maps, kernel, bias, s1, s2):
    """Projection of every position, then the mean of each bin, in float64."""
    projected = maps.astype("float64") @ kernel + bias
    height, width = maps.shape[1:3]
    bins = [
        projected[
            :,
            math.floor(i * height / s1) : math.ceil((i + 1) * height / s1),
            math.floor(j * width / s2) : math.ceil((j + 1) * width / s2),
        ].mean(axis=(1, 2))
        for i in range(s1)
        for j in range(s2)
    ]
    rows = np.stack(bins, axis=-1).reshape(len(maps), -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_defaults_are_those_of_the_paper():
    layer = ConvAP()
    layer.build((None, None, None, 2048))
    assert layer.count_params() == 2049 * 1024
    assert layer.compute_output_spec(keras.KerasTensor((None, 10, 10, 2048))).shape == (None, 4096)


@pytest.mark.parametrize(("height", "width", "s1", "s2"), [(7, 5, 2, 2), (6, 9, 3, 2), (2, 1, 3, 2), (4, 4, 1, 1)])
def test_equals_the_original(height, width, s1, s2):
    oracle = np.load(Path(__file__).parents[1] / "data" / "aggregators_oracle.npz")
    output = with_weights(ConvAP(4, s1, s2))(features(height, width))
    np.testing.assert_allclose(output, oracle[f"convap_{height}x{width}_{s1}x{s2}"], atol=1e-6)


def test_a_graph_of_unknown_sizes_averages_the_bins_of_every_size():
    layer = with_weights(ConvAP(4, 3, 2))
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 6))], autograph=False)
    for height in range(1, 8):
        maps = features(height, 8 - height)
        np.testing.assert_allclose(graph(maps), naive_convap(maps, *layer.get_weights(), 3, 2), atol=1e-6)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: ConvAP(0), "`channels` must be at least 1. Received: channels=0"),
        (lambda: ConvAP(s1=0), "`s1` must be at least 1. Received: s1=0"),
        (lambda: ConvAP(s2=-1), "`s2` must be at least 1. Received: s2=-1"),
        (lambda: ConvAP().build((None, 6)), r"`ConvAP` expects feature maps .* Received: input_shape=\(None, 6\)"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()
