import numpy as np

from keras_sare.layers import MAC


def test_equals_the_largest_activation_of_each_channel_normalised():
    maps = np.random.default_rng(0).random((2, 4, 5, 3)).astype("float32")
    expected = maps.reshape(2, 20, 3).max(axis=1)
    np.testing.assert_allclose(MAC()(maps), expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)


def test_tiny_float16_activations_do_not_vanish_in_the_normalisation():
    maps = (1e-4 * np.random.default_rng(0).random((2, 4, 5, 3))).astype("float16")
    np.testing.assert_allclose(np.linalg.norm(MAC(dtype="mixed_float16")(maps), axis=1), 1, rtol=1e-4)
