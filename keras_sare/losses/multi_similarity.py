"""Multi-similarity loss."""

from typing import Any

import keras
from keras import ops

from keras_sare.losses.base import FAR, TupleLoss, check_positive, masked
from keras_sare.losses.registry import register
from keras_sare.utils.arguments import plain_arguments


@register("multi_similarity", published={"places": "tuple"})
@keras.saving.register_keras_serializable(package="keras_sare")
class MultiSimilarityLoss(TupleLoss):
    """Multi-similarity loss on tuples: soft margins around a similarity that positives exceed and negatives do not.

    The loss of a tuple, with s the cosine similarity to the query, which is taken from the squared distance between
    L2-normalised embeddings, s = 1 - d / 2:

        log(1 + exp(-alpha (s_p - base))) / alpha + log(1 + sum over n of exp(beta (s_n - base))) / beta

    The pairs are those of the tuple; the paper's selection of pairs inside a batch is not part of it. A tuple without
    negatives keeps its positive term.

    Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR 2019. The
    defaults are those of pytorch-metric-learning.

    Args:
        alpha: positive; steepness for the positive.
        beta: positive; steepness for the negatives.
        base: cosine similarity that separates positives from negatives.
        name: name of the loss.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: see `TupleLoss`.
        scale: "tuple", "divide_by_negatives" or "divide_by_pairs"; see `TupleLoss`.

    Raises:
        ValueError: `alpha` or `beta` is no positive number or `scale` unknown; in `call`, `y_pred` is no batch of
            tuples.

    Example:
        >>> loss = MultiSimilarityLoss()
        >>> model.compile(optimizer="sgd", loss=loss)  # the model returns [batch, 2 + negatives, dim], unit vectors
    """

    @plain_arguments
    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        name: str | None = "multi_similarity",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
        scale: str = "tuple",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype, scale=scale)
        check_positive("alpha", alpha)
        check_positive("beta", beta)
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        """Multi-similarity loss of each tuple from the squared distances between its unit vectors, [batch]."""
        positives = 1.0 - positive_distances / 2
        negatives = 1.0 - masked(negative_distances, mask, FAR) / 2
        pull = ops.softplus(-self.alpha * (positives - self.base)) / self.alpha
        push = ops.softplus(ops.logsumexp(self.beta * (negatives - self.base), axis=-1)) / self.beta
        return pull + push

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta, "base": self.base}
