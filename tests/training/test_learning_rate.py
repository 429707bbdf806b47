import keras
import numpy as np
import pytest

from keras_sare.training.learning_rate import set_learning_rate

RATES = [0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
GRADIENTS = np.random.default_rng(0).standard_normal((len(RATES), 3)).astype("float32")


def matconvnet(rates, momentum=0.9):
    """The originals' update: m <- momentum m - g, then w <- w + rate m."""
    weight = np.ones(3)
    velocity = np.zeros(3)
    for rate, gradient in zip(rates, GRADIENTS, strict=True):
        velocity = momentum * velocity - gradient
        weight = weight + rate * velocity
    return weight


def trained(optimizer, rates, set_rate=set_learning_rate):
    weight = keras.Variable(np.ones(3, "float32"))
    optimizer.build([weight])
    for rate, gradient in zip(rates, GRADIENTS, strict=True):
        set_rate(optimizer, rate)
        optimizer.apply([keras.ops.convert_to_tensor(gradient) * optimizer.scale_loss(1.0)], [weight])
    return keras.ops.convert_to_numpy(weight)


def test_momentum_goes_on_as_in_matconvnet_when_the_rate_halves():
    np.testing.assert_allclose(trained(keras.optimizers.SGD(0.5, momentum=0.9), RATES), matconvnet(RATES), rtol=1e-6)


def test_keras_alone_would_go_on_at_the_old_rate():
    def plain(optimizer, rate):
        optimizer.learning_rate = rate

    weight = trained(keras.optimizers.SGD(0.5, momentum=0.9), RATES, plain)
    assert np.abs(weight - matconvnet(RATES)).max() > 0.1


def test_optimizer_inside_a_loss_scale_optimizer_is_set():
    inner = keras.optimizers.SGD(0.5, momentum=0.9)
    weight = trained(keras.optimizers.LossScaleOptimizer(inner), RATES)
    np.testing.assert_allclose(weight, matconvnet(RATES), rtol=1e-6)
    assert float(inner.learning_rate) == 0.125


def test_same_rate_leaves_the_velocity_as_it_is():
    optimizer = keras.optimizers.SGD(0.3, momentum=0.9)
    constant = trained(optimizer, [0.3] * len(RATES))
    np.testing.assert_array_equal(
        constant, trained(keras.optimizers.SGD(0.3, momentum=0.9), [0.3] * 6, lambda *_: None)
    )


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.1)], ids=["plain", "adam"])
def test_optimizer_whose_state_does_not_hold_the_rate_gets_the_rate_alone(optimizer):
    weight = keras.Variable(np.ones(3, "float32"))
    optimizer.build([weight])
    optimizer.apply([keras.ops.ones(3)], [weight])
    before = [keras.ops.convert_to_numpy(v) for v in optimizer.variables if v.name != "learning_rate"]
    set_learning_rate(optimizer, 0.05)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
    after = [keras.ops.convert_to_numpy(v) for v in optimizer.variables if v.name != "learning_rate"]
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_optimizer_that_is_not_built_yet_gets_the_rate():
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    set_learning_rate(optimizer, 0.05)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_rate_that_is_not_positive_is_refused(value):
    with pytest.raises(ValueError, match="`value` must be a positive, finite learning rate. Received: value="):
        set_learning_rate(keras.optimizers.SGD(0.1), value)
