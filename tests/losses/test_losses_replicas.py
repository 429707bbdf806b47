"""Every loss on two replicas against one replica with the same global batch."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.losses import ContrastiveLoss, InfoNCELoss, MultiSimilarityLoss, SARELoss, TripletLoss, TupleLoss

MASK = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 1], [1, 1, 1]], "float32")


def every_loss() -> dict[str, TupleLoss]:
    """Each loss with each scale, by name."""
    losses: dict[str, TupleLoss] = {
        f"{loss.name}-{reduction}": loss.__class__(reduction=reduction)
        for loss in (SARELoss(), TripletLoss(), ContrastiveLoss(), MultiSimilarityLoss(), InfoNCELoss())
        for reduction in ("sum", "mean")
    }
    for scale in ("tuple", "deepibl", "cnnimageretrieval"):
        for kernel in ("gaussian", "cauchy", "exponential"):
            for mode in ("independent", "joint"):
                losses[f"{kernel}-{mode}-{scale}"] = SARELoss(kernel, mode, scale=scale)
        losses[f"sare-temperature-{scale}"] = SARELoss(temperature=0.14, scale=scale)
        losses[f"contrastive-{scale}"] = ContrastiveLoss(1.2, scale=scale)
        losses[f"triplet-{scale}"] = TripletLoss(1.0, scale=scale)
        losses[f"triplet-unsquared-{scale}"] = TripletLoss(1.0, squared=False, scale=scale)
        losses[f"multi-similarity-{scale}"] = MultiSimilarityLoss(scale=scale)
        losses[f"info-nce-{scale}"] = InfoNCELoss(scale=scale)
    return losses


@pytest.fixture(scope="module")
def strategy() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.mark.parametrize("y_true", [np.zeros(8, "float32"), MASK], ids=["all count", "some masked"])
def test_the_gradient_is_that_of_one_replica(
    strategy: tf.distribute.Strategy, y_true: np.ndarray, unit_tuples: Callable
) -> None:
    losses = every_loss()
    x, start = unit_tuples(batch=8).astype("float32"), np.random.default_rng(1).normal(size=(5, 4)).astype("float32")

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
