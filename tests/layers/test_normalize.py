import numpy as np
import pytest
import tensorflow as tf

from keras_sare.layers import l2_normalize
from keras_sare.layers.normalize import NORMALIZATIONS


def test_vectors_along_several_axes_are_normalised_together():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 1))
    expected = x / np.sqrt(np.sum(x**2, axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(l2_normalize(x, axis=(1, 2)), expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("normalization", "norms"),
    [("matlab", [1, 0.5**0.5, 1e-2, 1e-7, 0]), ("torch", [1, 1, 1, 0.1, 0])],
)
def test_short_vectors_fade_out_at_the_length_of_their_rule(normalization, norms):
    lengths = np.array([[2], [1e-6], [1e-8], [1e-13], [0]])
    for dtype in ("float32", "float64"):
        x = (lengths * [0.6, -0.8]).astype(dtype)
        found = l2_normalize(x, normalization=normalization)
        np.testing.assert_allclose(found, np.expand_dims(norms, 1) * [0.6, -0.8], rtol=1e-4)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_zero_vector_stays_zero_and_its_gradient_fits_into_float16(normalization):
    x = tf.constant([[0.0, 0.0], [3.0, 4.0]], tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = l2_normalize(x, normalization=normalization)
    np.testing.assert_allclose(y, [[0, 0], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x), [[0, 0], [0.032, -0.024]], rtol=1e-3)
