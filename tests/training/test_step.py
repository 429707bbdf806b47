import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import ContrastiveLoss, SARELoss
from keras_sare.training.step import make_train_step


def tuples(batch=4, negatives=2):
    shape = (batch, 2 + negatives, 12, 16, 3)
    return np.random.default_rng(1).integers(0, 255, shape).astype("float32")


def run(make_model, strategy, loss, steps=3):
    model = make_model(strategy)
    with strategy.scope():
        optimizer = keras.optimizers.SGD(0.001, momentum=0.9)
        optimizer.build(model.trainable_variables)
    step = make_train_step(strategy, model, loss, optimizer, weight_decay=1e-2)
    batches = tf.data.Dataset.from_tensors(tuples()).repeat(steps).unbatch().batch(4, drop_remainder=True)
    losses = [float(step(batch)) for batch in strategy.experimental_distribute_dataset(batches)]
    return losses, [keras.ops.convert_to_numpy(w) for w in model.trainable_variables]


@pytest.mark.parametrize("loss", [SARELoss(), SARELoss(mode="joint"), ContrastiveLoss()], ids=lambda x: x.name)
def test_two_replicas_train_like_one_on_the_same_global_batches(make_model, loss):
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one_losses, one = run(make_model, tf.distribute.get_strategy(), loss)
    two_losses, two = run(make_model, mirrored, loss)
    assert mirrored.num_replicas_in_sync == 2
    np.testing.assert_allclose(two_losses, one_losses, rtol=1e-5)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_step_is_sgd_with_momentum_and_decay_inside_the_momentum(make_model):
    """MatConvNet's rule, written out: m <- 0.9 m - lr (g + decay w); w <- w + m."""
    loss = SARELoss()
    model = make_model()
    weights = [tf.Variable(w) for w in model.trainable_variables]
    velocity = [tf.zeros_like(w) for w in weights]
    for _ in range(3):
        for variable, w in zip(model.trainable_variables, weights, strict=True):
            variable.assign(w)
        with tf.GradientTape() as tape:
            embeddings = tf.reshape(model(tuples().reshape(-1, 12, 16, 3)), (4, 4, -1))
            value = tf.reduce_mean(loss.call(None, embeddings))
        gradients = tape.gradient(value, model.trainable_variables)
        velocity = [0.9 * v - 0.001 * (g + 1e-2 * w) for v, g, w in zip(velocity, gradients, weights, strict=True)]
        for w, v in zip(weights, velocity, strict=True):
            w.assign_add(v)
    _, trained = run(make_model, tf.distribute.get_strategy(), loss)
    for a, b in zip(weights, trained, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_loss_is_the_mean_over_tuples_before_the_update(make_model):
    model = make_model()
    embeddings = tf.reshape(model(tuples().reshape(-1, 12, 16, 3)), (4, 4, -1))
    losses, _ = run(make_model, tf.distribute.get_strategy(), SARELoss())
    assert losses[0] == pytest.approx(float(tf.reduce_mean(SARELoss().call(None, embeddings))), rel=1e-5)
    assert losses[-1] < losses[0]


def test_loss_that_is_reduced_otherwise_is_refused(make_model):
    strategy = tf.distribute.get_strategy()
    with pytest.raises(ValueError, match="`loss` must have the reduction .* Received: loss.reduction='sum'"):
        make_train_step(strategy, make_model(strategy), SARELoss(reduction="sum"), keras.optimizers.SGD(), 0.0)
