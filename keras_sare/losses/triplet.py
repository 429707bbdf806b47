"""Weakly supervised triplet ranking loss of NetVLAD."""

from typing import Any

import keras
from keras import ops

from keras_sare.losses.base import FAR, SCALES, TupleLoss, check_positive, masked, squared_distances, unsquared
from keras_sare.losses.registry import register
from keras_sare.utils.arguments import plain_arguments


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
    return ops.sum(_violations(positive_distances, negative_distances, margin, squared, mask), axis=-1)


@register("triplet", published={"places": "divide_by_violators", "retrieval": "divide_by_pairs"})
@keras.saving.register_keras_serializable(package="keras_sare")
class TripletLoss(TupleLoss):
    """Triplet ranking loss: every negative must be farther than the positive by a margin.

    The loss of a tuple is the sum over its negatives, of which only those that violate the margin cost anything, with d
    a squared distance to the query:

        sum over n of max(0, d_p + margin - d_n)

    Arandjelovic et al., "NetVLAD: CNN architecture for weakly supervised place recognition", CVPR 2016, section 4. The
    defaults are the authors' formula.

    Scale of the gradient. The default is the mean over tuples of that sum. The authors' code divides the gradient of a
    batch by the number of its negatives that violate the margin: `scale="divide_by_violators"`. It is smaller than the
    default's by violators / batch: by 10 where all of 4 tuples of 10 negatives violate the margin, by 2.5 where 10 do;
    at the same learning rate its steps are too. Where none does the gradient is 0. The violators tie the tuples of a
    batch together. `keras_sare.training` counts them over all replicas; `model.fit` under `tf.distribute` would divide
    by each replica's own. The value of `call` is that of "tuple".

    PyTorch projects compare distances that are not squared, and average over the negatives:

        OpenIBL, pytorch-NetVlad:   TripletLoss(margin=0.1**0.5, squared=False, scale="divide_by_negatives")
        VG benchmark:               TripletLoss(margin=0.1, squared=False, scale="divide_by_negatives")

    Without `squared` there is no gradient where two images coincide; here it is 0.

    Args:
        margin: positive; of squared distances or, without `squared`, of distances.
        squared: whether squared distances are compared.
        name: name of the loss.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: see `TupleLoss`.
        scale: "tuple", "divide_by_negatives", "divide_by_pairs" or "divide_by_violators"; see `TupleLoss`.

    Raises:
        ValueError: `margin` is no positive number, `scale` unknown, or "divide_by_violators" with another reduction
            than the default; in `call`, `y_pred` is no batch of tuples.

    Example:
        >>> loss = TripletLoss(margin=0.1)
        >>> model.compile(optimizer="sgd", loss=loss)  # the model returns [batch, 2 + negatives, dim]
    """

    scales = (*SCALES, "divide_by_violators")

    @plain_arguments
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
        if self.scale == "divide_by_violators" and self.reduction not in ("sum_over_batch_size", "mean"):
            raise ValueError(
                "`reduction` must be 'sum_over_batch_size' with scale='divide_by_violators', the sum over a batch "
                f"divided by its violators. Received: reduction={reduction!r}"
            )
        self.margin = margin
        self.squared = squared

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        """Triplet loss of each tuple from its squared distances, [batch]."""
        return triplet(positive_distances, negative_distances, self.margin, self.squared, mask)

    def divisors(self, y_true: Any, y_pred: Any) -> Any | None:
        """With `scale="divide_by_violators"` the negatives of each tuple that violate the margin, [batch]."""
        if self.scale != "divide_by_violators":
            return None
        to_positive, to_negatives, mask = squared_distances(y_true, y_pred)
        violations = _violations(to_positive, to_negatives, self.margin, self.squared, mask)
        return ops.sum(ops.cast(violations > 0, violations.dtype), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin, "squared": self.squared}


def _violations(
    positive_distances: Any, negative_distances: Any, margin: float, squared: bool, mask: Any = None
) -> Any:
    """By how much each negative violates the margin, [batch, negatives]."""
    positives = ops.expand_dims(positive_distances, -1)
    negatives = masked(negative_distances, mask, FAR)
    if not squared:
        positives = unsquared(positives)
        negatives = unsquared(negatives)
    return ops.relu(positives + margin - negatives)
