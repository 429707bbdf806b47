"""Contrastive loss of siaMAC."""

from typing import Any

import keras
from keras import ops

from keras_sare.losses.base import FAR, TupleLoss, check_positive, masked, unsquared
from keras_sare.losses.registry import register
from keras_sare.utils.arguments import plain_arguments


def contrastive(positive_distances: Any, negative_distances: Any, margin: float = 0.7, mask: Any = None) -> Any:
    """Contrastive loss of each tuple from its squared distances; `ContrastiveLoss` documents the formula.

    Args:
        positive_distances: squared distances from the query to its positive, [batch]. They are not cast: float32 or
            float64 is expected.
        negative_distances: squared distances from the query to its negatives, [batch, negatives], same dtype.
        margin: distance (not squared) from which a negative costs nothing.
        mask: [batch, negatives], nonzero where a negative counts; None where all do.

    Returns:
        [batch].

    Raises:
        ValueError: `margin` is no positive number.
    """
    check_positive("margin", margin)
    repulsion = ops.square(ops.relu(margin - unsquared(masked(negative_distances, mask, FAR))))
    return 0.5 * (positive_distances + ops.sum(repulsion, axis=-1))


@register("contrastive", published={"places": "tuple", "retrieval": "divide_by_pairs"})
@keras.saving.register_keras_serializable(package="keras_sare")
class ContrastiveLoss(TupleLoss):
    """Contrastive loss: pulls the positive in and pushes negatives out to a margin.

    The loss of a tuple is the sum over its pairs, with D the distance (not squared) to the query:

        0.5 * D_p^2 + sum over negatives of 0.5 * max(0, margin - D_n)^2

    A negative that coincides with its query has no direction to go; its gradient is 0. A tuple without negatives keeps
    its positive term.

    Radenovic, Tolias and Chum, "CNN Image Retrieval Learns from BoW: Unsupervised Fine-Tuning with Hard Examples",
    ECCV 2016. The margin is 0.7 for MAC; the authors' later code takes 0.75 for VGG16 with GeM and
    0.85 for ResNet101 with GeM. Their first code (cnnimageretrieval, MatConvNet) divides the gradient by the pairs of a
    batch: `scale="divide_by_pairs"` gives its step at the same learning rate. The later code
    (cnnimageretrieval-pytorch) sums over the tuples of a batch: `reduction="sum"`.

    Args:
        margin: distance (not squared, positive) from which a negative costs nothing; between unit vectors a distance is
            at most 2.
        name: name of the loss.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: see `TupleLoss`.
        scale: "tuple", "divide_by_negatives" or "divide_by_pairs"; see `TupleLoss`.

    Raises:
        ValueError: `margin` is no positive number or `scale` unknown; in `call`, `y_pred` is no batch of tuples.

    Example:
        >>> loss = ContrastiveLoss(margin=0.7)
        >>> model.compile(optimizer="sgd", loss=loss)  # the model returns [batch, 2 + negatives, dim]
    """

    @plain_arguments
    def __init__(
        self,
        margin: float = 0.7,
        name: str | None = "contrastive",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
        scale: str = "tuple",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype, scale=scale)
        check_positive("margin", margin)
        self.margin = margin

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        """Contrastive loss of each tuple from its squared distances, [batch]."""
        return contrastive(positive_distances, negative_distances, self.margin, mask)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin}
