"""Every loss on two replicas against one replica with the same global batch."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import TupleLoss

MASK = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 1], [1, 1, 1]], "float32")


SCALES = ("tuple", "divide_by_negatives", "divide_by_pairs")


def every_loss(makers: dict[str, Callable[..., TupleLoss]]) -> dict[str, TupleLoss]:
    """Each loss with each scale and each reduction, by name."""
    scaled = {f"{name}-{scale}": make(scale=scale) for name, make in makers.items() for scale in SCALES}
    reductions = ("sum", "mean")
    return scaled | {f"{name}-{one}": make(reduction=one) for name, make in makers.items() for one in reductions}


@pytest.fixture(scope="module")
def strategy() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.mark.parametrize("y_true", [np.zeros(8, "float32"), MASK], ids=["all count", "some masked"])
def test_the_gradient_is_that_of_one_replica(
    strategy: tf.distribute.Strategy,
    y_true: np.ndarray,
    unit_tuples: Callable,
    makers: dict[str, Callable[..., TupleLoss]],
) -> None:
    losses = every_loss(makers)
    x = unit_tuples(batch=8).astype("float32")
    start = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")

    def gradient(loss: TupleLoss, weights: tf.Variable, labels: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(labels, tf.math.l2_normalize(batch @ weights, -1))
        return tape.gradient(value, weights)

    def gradients(*arguments: tf.Tensor) -> list[tf.Tensor]:
        return [gradient(loss, *arguments) for loss in losses.values()]

    def halves(array: np.ndarray) -> tf.Tensor:
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(array, 2)[context.replica_id_in_sync_group])
        )

    alone = gradients(tf.Variable(start), tf.constant(y_true), tf.constant(x))
    with strategy.scope():
        weights = tf.Variable(start)
    # Not in a tf.function, whose optimisation of so many losses would take most of the time.
    together = strategy.run(gradients, (weights, halves(y_true), halves(x)))

    assert strategy.num_replicas_in_sync == 2
    for name, one, two in zip(losses, alone, together, strict=True):
        total = strategy.reduce(tf.distribute.ReduceOp.SUM, two, axis=None).numpy()
        assert np.abs(one).max() > 0, name
        np.testing.assert_allclose(total, one, rtol=0, atol=1e-6 * np.abs(one).max(), err_msg=name)
