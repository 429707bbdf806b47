import numpy as np
import tensorflow as tf

from keras_sare.layers import l2_normalize


def test_vectors_along_several_axes_are_normalised_together():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 1))
    expected = x / np.sqrt(np.sum(x**2, axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(l2_normalize(x, axis=(1, 2)), expected, rtol=1e-11)


def test_zero_vector_stays_zero_and_its_gradient_fits_into_float16():
    x = tf.constant([[0.0, 0.0], [3.0, 4.0]], tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = l2_normalize(x)
    np.testing.assert_allclose(y, [[0, 0], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x), [[0, 0], [0.032, -0.024]], rtol=1e-3)
