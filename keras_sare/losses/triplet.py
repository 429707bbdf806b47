"""Weakly supervised triplet ranking loss of NetVLAD."""

from typing import Any

import keras
from keras import ops

from keras_sare.losses.base import FAR, TupleLoss, check_positive, masked, unsquared


def triplet(
    positive_distances: Any, negative_distances: Any, margin: float = 0.1, squared: bool = True, mask: Any = None
) -> Any:
    """Triplet loss of each tuple from its squared distances; `TripletLoss` documents the formula.

    Args:
        positive_distances: squared distances from the query to its positive, [batch]. They are not cast: float32 or
            float64 is expected.
        negative_distances: squared distances from the query to its negatives, [batch, negatives], same dtype.
        margin: what the negative must be farther than the positive, in squared distance or, without `squared`, in
            distance.
        squared: whether squared distances are compared; otherwise their square roots are.
        mask: [batch, negatives], nonzero where a negative counts; None where all do.

    Returns:
        [batch].

    Raises:
        ValueError: `margin` is no positive number.
    """
    check_positive("margin", margin)
    positives, negatives = ops.expand_dims(positive_distances, -1), masked(negative_distances, mask, FAR)
    if not squared:
        positives, negatives = unsquared(positives), unsquared(negatives)
    return ops.sum(ops.relu(positives + margin - negatives), axis=-1)


@keras.saving.register_keras_serializable(package="keras_sare")
class TripletLoss(TupleLoss):
    """Triplet ranking loss: every negative must be farther than the positive by a margin.

    The loss of a tuple is the sum over its negatives, of which only those that violate the margin cost anything, with d
    a squared distance to the query:

        sum over n of max(0, d_p + margin - d_n)

    Arandjelovic et al., "NetVLAD: CNN architecture for weakly supervised place recognition", CVPR 2016, section 4. The
    defaults are the authors' formula. They divide the gradient by the violators of the whole batch, which would tie
    tuples and replicas together: here it is smaller at the same learning rate (by the share of violators with
    `scale="deepibl"`). PyTorch projects compare distances that are not squared, and average over the negatives:

        OpenIBL, pytorch-NetVlad:   TripletLoss(margin=0.1**0.5, squared=False, scale="deepibl")
        VG benchmark:               TripletLoss(margin=0.1, squared=False, scale="deepibl")

    Without `squared` there is no gradient where two images coincide; here it is 0.

    Args:
        margin: positive; of squared distances or, without `squared`, of distances.
        squared: whether squared distances are compared.
        name: name of the loss.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: see `TupleLoss`.
        scale: "tuple" or "deepibl"; see `TupleLoss`.

    Raises:
        ValueError: `margin` is no positive number or `scale` unknown; in `call`, `y_pred` is no batch of tuples.

    Example:
        >>> loss = TripletLoss(margin=0.1)
        >>> model.compile(optimizer="sgd", loss=loss)  # the model returns [batch, 2 + negatives, dim]
    """

    def __init__(
        self,
        margin: float = 0.1,
        squared: bool = True,
        name: str | None = "triplet",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
        scale: str = "tuple",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype, scale=scale)
        check_positive("margin", margin)
        self.margin = margin
        self.squared = squared

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        """Triplet loss of each tuple from its squared distances, [batch]."""
        return triplet(positive_distances, negative_distances, self.margin, self.squared, mask)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin, "squared": self.squared}
