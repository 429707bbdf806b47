from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.layers import MixVPR
from keras_sare.layers.mixvpr import resize_matrix


def features(height=4, width=5, channels=6):
    return np.random.RandomState(1).normal(size=(2, height, width, channels)).astype("float32")


def with_weights(layer, channels=6):
    """Draws the weights in the order and the shapes of make_aggregators_oracle.py."""
    layer.build((None, None, None, channels))
    random = np.random.RandomState(2)
    layer.set_weights([0.3 * random.normal(size=w.shape[::-1]).T for w in layer.get_weights()])
    return layer


def small(**kwargs):
    return with_weights(MixVPR(tokens=(4, 5), depth=2, channels=7, rows=3, **kwargs))


def test_defaults_are_those_of_the_paper():
    layer = MixVPR()
    layer.build((None, None, None, 1024))
    # 4 mixers of 400 tokens, 1024 -> 1024 channels, 400 -> 4 rows.
    assert layer.count_params() == 4 * (2 * 400 + 2 * (400 * 400 + 400)) + 1024 * 1025 + 4 * 401
    assert layer.compute_output_spec(keras.KerasTensor((None, 20, 20, 1024))).shape == (None, 4096)


@pytest.mark.parametrize("ratio", [1, 1.5])
def test_equals_the_original(ratio):
    oracle = np.load(Path(__file__).parents[1] / "data" / "aggregators_oracle.npz")
    np.testing.assert_allclose(small(mlp_ratio=ratio)(features()), oracle[f"mixvpr_{ratio}"], atol=1e-6)


@pytest.mark.parametrize("size", [(4, 5), (8, 10), (3, 7), (1, 1), (13, 4)])
def test_other_sizes_are_resized_bilinearly_with_antialiasing(size):
    layer = small()
    maps = features(*size)
    resized = tf.image.resize(maps, (4, 5), antialias=True)
    np.testing.assert_allclose(layer(maps), layer(resized), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_graph_of_unknown_sizes_leaves_the_native_size_as_it_is(dtype):
    graph = tf.function(lambda length: resize_matrix(length, 20, dtype))
    np.testing.assert_array_equal(graph(tf.constant(20)), np.eye(20))


def test_mixers_start_small_and_different():
    layer = MixVPR(tokens=(4, 5), depth=2)
    layer.build((None, None, None, 6))
    kernels = [np.array(dense.kernel) for mixer in layer.mixers for dense in (mixer.expand, mixer.contract)]
    assert all(0.01 < kernel.std() < 0.03 for kernel in kernels)
    assert all(not np.array_equal(a, b) for i, a in enumerate(kernels) for b in kernels[:i])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: MixVPR(tokens=(0, 4)), r"`tokens` must be .* Received: tokens=\(0, 4\)"),
        (lambda: MixVPR(tokens=(4,)), r"`tokens` must be .* Received: tokens=\(4,\)"),
        (lambda: MixVPR(depth=0), "`depth` must be at least 1. Received: depth=0"),
        (lambda: MixVPR(channels=0), "`channels` must be at least 1. Received: channels=0"),
        (lambda: MixVPR(rows=0), "`rows` must be at least 1. Received: rows=0"),
        (lambda: MixVPR(tokens=(2, 2), mlp_ratio=0.2), "`mlp_ratio` must leave .* 4 tokens .* mlp_ratio=0.2"),
        (lambda: MixVPR().build((None, 6)), r"`MixVPR` expects feature maps .* Received: input_shape=\(None, 6\)"),
        (lambda: MixVPR().build((None, 2, 2, None)), "`MixVPR` expects .* known number of channels"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()
