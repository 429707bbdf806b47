"""What every loss over tuples shares: the order inside a tuple, its distances, which negatives count, the scale."""

import math
import warnings
from typing import Any

import keras
from keras import ops

from keras_sare.utils.choices import check_choice
from keras_sare.utils.keras_internals import mask_of

SCALES = ("tuple", "divide_by_negatives", "divide_by_pairs")

RENAMED_SCALES = {
    "deepibl": "divide_by_negatives",
    "cnnimageretrieval": "divide_by_pairs",
    "netvlad": "divide_by_violators",
}
"""Older names of scales, which losses in saved models may still have."""

FAR = 1e30
"""A distance, finite in float32, at which a negative costs exactly nothing."""

# Keeps the gradient of sqrt finite: below it the square root is flat. It lies far under any real squared distance.
_SMALLEST_SQUARED_DISTANCE = 1e-30


class TupleLoss(keras.losses.Loss):
    """Base of the losses over tuples (query, positive, negatives...).

    A subclass writes `from_distances`. `call` returns one value per tuple and the base class of Keras reduces them,
    dividing by the number of replicas too, so the same loss is right under every `tf.distribute` strategy whose
    replicas get equally many tuples (not with the reduction "mean_with_sample_weight", which divides by each replica's
    own weights).

    Shapes:
        y_true: [batch, negatives], nonzero where a negative counts, so that tuples may have fewer of them; or [batch],
            ignored (`model.fit` needs an array there). Beware that dummy labels of zeros [batch, 1] are a mask.
        y_pred: [batch, 2 + negatives, dim], embeddings in the order query, positive, negatives; usually L2-normalised.

    A negative that does not count adds nothing to the value, and its own gradient is 0 whatever it holds, even NaN.

    Scale. With N the negatives of a tuple and the default reduction, the loss of a batch is

        "tuple":    the mean over tuples of the loss of a tuple, which the subclass documents. A tuple of which some
                    negatives do not count has the loss of the shorter tuple.
        "divide_by_negatives":  the sum over negatives and tuples / (batch x N), as in deepIBL, the authors' code of
                    SARE. A loss that is already a mean over negatives stays as it is; every other becomes N times
                    smaller, and so do the steps at the same learning rate. N is the width of the tuple: negatives that
                    do not count are counted here, so that tuples stay independent and two replicas add up to one
                    exactly.
        "divide_by_pairs":  the same / (batch x (1 + N)), the pairs of the batch, as in cnnimageretrieval.
        "divide_by_violators":  of `TripletLoss` alone, see there: the sum / the negatives of the batch that violate the
                    margin, as in the authors' code of NetVLAD.

    What the originals do, as said here:

        deepIBL, SARE                               "divide_by_negatives"
        OpenIBL, SARE                               "tuple"
        OpenIBL, triplet                            "divide_by_negatives"
        VG benchmark, SARE and triplet              "divide_by_negatives"
        pytorch-NetVlad, triplet                    "divide_by_negatives", but / the negatives of the batch that count
        netvlad of Relja, triplet                   "divide_by_violators"
        cnnimageretrieval-pytorch (both losses)     "tuple" with reduction="sum"
        cnnimageretrieval (both losses)             "divide_by_pairs"

    Args:
        name: name of the loss; the default is made from the class name.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: dtype of the computation, to which Keras casts `y_pred`; the default is `keras.config.floatx()`. The
            difference of two close distances vanishes in half precision, so a float16 or bfloat16 dtype is raised to
            float32. float64 embeddings keep their precision with `dtype="float64"`.
        scale: "tuple", "divide_by_negatives" or "divide_by_pairs".

    Raises:
        ValueError: `scale` is unknown.
    """

    scales: tuple[str, ...] = SCALES
    """What `scale` may be."""

    averages_negatives = False
    """Whether `from_distances` is a mean over the negatives that count."""

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
        scale: str = "tuple",
    ) -> None:
        asked = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
        super().__init__(name=name, reduction=reduction, dtype=keras.backend.result_type(asked, "float32"))
        self.scale = _current_scale(scale)
        check_choice("scale", self.scale, self.scales)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Reduced loss, as of every loss of Keras; weights are [batch], one for each tuple.

        Raises:
            ValueError: `y_pred` carries the mask of a layer such as `keras.layers.Masking`.
        """
        if (mask := mask_of(y_pred)) is not None:
            # Keras would multiply it, [batch, 2 + negatives], with one value for each tuple.
            raise ValueError(
                "Argument `y_pred` must not carry a mask of Keras: say by `y_true`, [batch, negatives], which "
                f"negatives count. Received: y_pred with a mask of shape {tuple(mask.shape)}"
            )
        reduced = super().__call__(y_true, y_pred, sample_weight)
        divisors = self.divisors(y_true, ops.convert_to_tensor(y_pred))
        if divisors is None:
            return reduced
        return reduced * ops.cast(mean_to_ratio(ops.shape(y_pred)[0], ops.sum(divisors)), reduced.dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each tuple.

        Args:
            y_true: [batch, negatives], nonzero where a negative counts; all count where it is None or [batch].
            y_pred: embeddings, [batch, 2 + negatives, dim].

        Returns:
            [batch], at least float32.

        Raises:
            ValueError: `y_pred` has another rank, or no negative; `y_true` is neither [batch] nor [batch, negatives].
        """
        to_positive, to_negatives, mask = squared_distances(y_true, y_pred)
        values = self.from_distances(to_positive, to_negatives, mask)
        per_negative = self.scale in ("divide_by_negatives", "divide_by_pairs")
        return values * self._share(to_negatives, mask) if per_negative else values

    def divisors(self, y_true: Any, y_pred: Any) -> Any | None:
        """What each tuple adds to the number that the gradient of the whole batch is divided by.

        The gradient of a batch is that of the sum of `call` over the sum of these. A loop of training that shares a
        batch out over replicas has to add them up over all of these; `keras_sare.training` does.

        Args:
            y_true: as of `call`.
            y_pred: as of `call`.

        Returns:
            [batch]; None where each tuple adds 1, so that tuples do not depend on one another.
        """
        return None

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        """Loss of each tuple from its squared distances; a subclass overrides it.

        Args:
            positive_distances: squared distances from the query to its positive, [batch].
            negative_distances: squared distances from the query to its negatives, [batch, negatives].
            mask: bool [batch, negatives], whether a negative counts; None where all do.

        Returns:
            [batch].
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `from_distances`.")

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor; Keras leaves `dtype` out."""
        return {**super().get_config(), "dtype": self.dtype, "scale": self.scale}

    def _share(self, negative_distances: Any, mask: Any) -> Any:
        summed = count_negatives(negative_distances, mask) if self.averages_negatives else 1.0
        pairs = count_negatives(negative_distances, None) + (1 if self.scale == "divide_by_pairs" else 0)
        return summed / pairs


def squared_distances(y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
    """Squared distances from the queries of some tuples, at least float32, and which negatives count.

    Args:
        y_true: [batch, negatives], nonzero where a negative counts; all count where it is None or [batch].
        y_pred: embeddings, [batch, 2 + negatives, dim].

    Returns:
        To the positives, [batch]; to the negatives, [batch, negatives]; bool [batch, negatives], or None where all
        count.

    Raises:
        ValueError: as `TupleLoss.call`.
    """
    _check_tuples(y_pred.shape)
    mask = _mask(y_true, y_pred.shape)
    embeddings = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
    queries = embeddings[:, :1]
    positives = embeddings[:, 1:2]
    negatives = embeddings[:, 2:]
    if mask is not None:
        # Before the distances: one that is NaN would give the query the gradient 0 * NaN.
        negatives = masked(negatives, ops.expand_dims(mask, -1), 0.0)
    to_positive = ops.sum(ops.square(queries - positives), axis=-1)[:, 0]
    return to_positive, ops.sum(ops.square(queries - negatives), axis=-1), mask


def mean_to_ratio(tuples: Any, divisor: Any) -> Any:
    """Factor from the mean over tuples to their sum over `divisor`; 0 where that is 0, and so is the sum."""
    return ops.cast(tuples, divisor.dtype) / ops.maximum(divisor, 1)


def unsquared(squared_distances: Any) -> Any:
    """Square root of squared distances whose gradient is 0, not infinite, at distance 0."""
    return ops.sqrt(ops.maximum(squared_distances, _SMALLEST_SQUARED_DISTANCE))


def masked(values: Any, mask: Any, instead: float) -> Any:
    """`values` where `mask` is nonzero or None, `instead` elsewhere; what was there has no gradient, even if NaN."""
    return values if mask is None else ops.where(ops.cast(mask, "bool"), values, instead)


def count_negatives(negative_distances: Any, mask: Any) -> Any:
    """Number of negatives that count, in the dtype of the distances: [batch], or a scalar where `mask` is None."""
    if mask is None:
        return ops.cast(ops.shape(negative_distances)[-1], negative_distances.dtype)
    return ops.sum(ops.cast(ops.cast(mask, "bool"), negative_distances.dtype), axis=-1)


def check_positive(argument: str, value: float) -> None:
    """Raises ValueError where `value` is not a positive, finite number."""
    if not 0 < value < math.inf:
        raise ValueError(f"Argument `{argument}` must be a positive, finite number. Received: {argument}={value}.")


def _current_scale(scale: str) -> str:
    if scale not in RENAMED_SCALES:
        return scale
    renamed = RENAMED_SCALES[scale]
    # Of the line that made the loss: above it are a constructor here, that of the subclass and `plain_arguments`.
    warnings.warn(f"scale={scale!r} is now called {renamed!r}.", DeprecationWarning, stacklevel=5)
    return renamed


def _mask(y_true: Any, tuples: tuple[int | None, ...]) -> Any:
    if y_true is None or len(y_true.shape) < 2:
        return None
    width = None if tuples[1] is None else tuples[1] - 2
    if len(y_true.shape) == 2 and (None in (width, y_true.shape[1]) or y_true.shape[1] == width):
        return ops.cast(y_true, "bool")
    raise ValueError(
        "Argument `y_true` must be a mask of the negatives that count, of shape [batch, negatives], or have the shape "
        f"[batch], where all count. Received: y_true.shape={tuple(y_true.shape)} with {width} negatives in `y_pred`."
    )


def _check_tuples(shape: tuple[int | None, ...]) -> None:
    if len(shape) == 3 and (shape[1] is None or shape[1] >= 3):
        return
    raise ValueError(
        "Argument `y_pred` must hold embeddings of shape [batch, 2 + negatives, dim], in the order query, positive, "
        f"negatives, with at least one negative. Received: y_pred.shape={tuple(shape)}. "
        "A model that embeds images as [batch * (2 + negatives), dim] needs a reshape before the loss."
    )
