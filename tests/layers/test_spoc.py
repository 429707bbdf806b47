import numpy as np

from keras_sare.layers import SPoC


def test_equals_the_mean_activation_of_each_channel_normalised():
    maps = np.random.default_rng(0).random((2, 4, 5, 3))
    expected = np.array([[sum(image[:, :, c].ravel()) / 20 for c in range(3)] for image in maps])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(SPoC(dtype="float64")(maps), expected, atol=1e-11)


def test_large_float16_activations_do_not_overflow_in_the_sum():
    maps = np.full((1, 40, 40, 4), 1000, "float16")
    np.testing.assert_allclose(SPoC(dtype="mixed_float16")(maps), [[0.5] * 4], rtol=1e-6)
