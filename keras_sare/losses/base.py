"""What every loss over tuples shares: the order inside a tuple, its distances and their precision."""

from typing import Any

import keras
from keras import ops

# Keeps the gradient of sqrt finite: below it the square root is flat. It lies far under any real squared distance.
_SMALLEST_SQUARED_DISTANCE = 1e-30


class TupleLoss(keras.losses.Loss):
    """Base of the losses over tuples (query, positive, negatives...).

    A subclass writes `from_distances`. `call` returns one value per tuple and the base class of Keras reduces them,
    dividing by the number of replicas too, so the same loss is right under every `tf.distribute` strategy.

    Shapes:
        y_true: [batch, ...], ignored; `model.fit` needs an array there.
        y_pred: [batch, 2 + negatives, dim], embeddings in the order query, positive, negatives; usually L2-normalised.

    Args:
        name: name of the loss; the default is made from the class name.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: dtype of the computation, to which Keras casts `y_pred`; the default is `keras.config.floatx()`. The
            difference of two close distances vanishes in half precision, so a float16 or bfloat16 dtype is raised to
            float32. float64 embeddings keep their precision with `dtype="float64"`.
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        asked = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
        super().__init__(name=name, reduction=reduction, dtype=keras.backend.result_type(asked, "float32"))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each tuple.

        Args:
            y_true: ignored.
            y_pred: embeddings, [batch, 2 + negatives, dim].

        Returns:
            [batch], at least float32.

        Raises:
            ValueError: `y_pred` has another rank, or no negative.
        """
        _check_tuples(y_pred.shape)
        embeddings = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
        distances = ops.sum(ops.square(embeddings[:, :1] - embeddings[:, 1:]), axis=-1)
        return self.from_distances(distances[:, 0], distances[:, 1:])

    def from_distances(self, positive_distances: Any, negative_distances: Any) -> Any:
        """Loss of each tuple from its squared distances; a subclass overrides it.

        Args:
            positive_distances: squared distances from the query to its positive, [batch].
            negative_distances: squared distances from the query to its negatives, [batch, negatives].

        Returns:
            [batch].
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `from_distances`.")

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor; Keras leaves `dtype` out."""
        return {**super().get_config(), "dtype": self.dtype}


def unsquared(squared_distances: Any) -> Any:
    """Square root of squared distances whose gradient is 0, not infinite, at distance 0."""
    return ops.sqrt(ops.maximum(squared_distances, _SMALLEST_SQUARED_DISTANCE))


def _check_tuples(shape: tuple[int | None, ...]) -> None:
    if len(shape) == 3 and (shape[1] is None or shape[1] >= 3):
        return
    raise ValueError(
        "Argument `y_pred` must hold embeddings of shape [batch, 2 + negatives, dim], in the order query, positive, "
        f"negatives, with at least one negative. Received: y_pred.shape={tuple(shape)}. "
        "A model that embeds images as [batch * (2 + negatives), dim] needs a reshape before the loss."
    )
