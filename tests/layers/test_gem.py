import numpy as np
import pytest
import tensorflow as tf

from keras_sare.layers import MAC, GeM, SPoC


def feature_maps(channels=3):
    """Some values are negative, as before a ReLU."""
    return np.random.default_rng(0).normal(size=(2, 4, 5, channels))


def naive_gem(maps, p, epsilon=1e-6):
    """The definition of the paper, one channel at a time, in float64."""
    rows = []
    for image in maps.astype("float64"):
        positions = image.reshape(-1, image.shape[-1])
        means = [sum(max(x, epsilon) ** p[c] for x in positions[:, c]) / len(positions) for c in range(len(p))]
        row = np.array(means) ** (1 / np.asarray(p))
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def test_equals_the_generalised_mean_of_each_channel():
    np.testing.assert_allclose(GeM(dtype="float64")(feature_maps()), naive_gem(feature_maps(), [3, 3, 3]), atol=1e-11)


def test_every_channel_can_have_an_exponent_of_its_own():
    layer = GeM(per_channel=True, dtype="float64")
    layer.build((None, None, None, 3))
    layer.set_weights([np.array([1.5, 3, 5])])
    np.testing.assert_allclose(layer(feature_maps()), naive_gem(feature_maps(), [1.5, 3, 5]), atol=1e-11)


def test_lies_between_spoc_and_mac():
    maps = np.abs(feature_maps())
    np.testing.assert_allclose(GeM(p=1, dtype="float64")(maps), SPoC()(maps), atol=1e-11)
    np.testing.assert_allclose(GeM(p=2000, dtype="float64")(maps), MAC()(maps), atol=2e-3)


def test_large_activations_and_exponents_do_not_overflow():
    maps = (1e4 * np.abs(feature_maps())).astype("float32")
    np.testing.assert_allclose(GeM(p=20)(maps), naive_gem(maps, [20] * 3), rtol=1e-5)


def test_exponent_is_a_weight_with_the_gradient_of_a_finite_difference():
    maps = tf.constant(np.abs(feature_maps()))
    step = 1e-5
    layer = GeM(dtype="float64")
    with tf.GradientTape() as tape:
        value = layer(maps)[0, 0]
    [gradient] = tape.gradient(value, layer.trainable_variables)
    difference = (naive_gem(maps.numpy(), [3 + step] * 3) - naive_gem(maps.numpy(), [3 - step] * 3))[0, 0] / (2 * step)
    np.testing.assert_allclose(gradient, [difference], rtol=1e-6)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: GeM(p=0), "`p` must be greater than 0. Received: p=0"),
        (lambda: GeM(epsilon=-1e-6), "`epsilon` must be greater than 0. Received: epsilon=-1e-06"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()


@pytest.mark.parametrize("p", [0, -0.5])
def test_exponent_that_training_drove_out_of_its_range_stays_a_mean(p):
    layer = GeM()
    smallest = GeM(p=0.01)
    maps = np.abs(np.random.default_rng(0).normal(size=(2, 3, 4, 5))).astype("float32")
    layer(maps)
    layer.set_weights([np.array([p])])
    np.testing.assert_array_equal(layer(maps), smallest(maps))
