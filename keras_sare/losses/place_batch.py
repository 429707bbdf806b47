"""Losses over a batch of places: every image is a query, and the images of all other places are its negatives."""

from typing import Any

import keras
from keras import ops

from keras_sare.losses.base import TupleLoss


@keras.saving.register_keras_serializable(package="keras_sare")
class PlaceBatchLoss(TupleLoss):
    """Takes any loss over tuples to batches of places with several images each.

    Each image is a query. Each other image of its place is a positive in turn, and all images of the other places are
    the negatives; the value of a place is the mean over these tuples. So P places of K images give P K (K - 1) tuples
    of (P - 1) K negatives for the price of P K embeddings: with 16 places of 4 images 192 tuples of 60 negatives for 64
    embeddings, where tuples of 5 mined negatives would need 1344.

    Ali-bey, Chaib-draa and Giguere, "GSV-Cities: Toward appropriate supervised visual place recognition",
    Neurocomputing 2022, section 4, trains on such batches. There the negatives within the batch are selected by the
    loss (multi-similarity's mining); here a loss that looks at the hardest ones does so by its form.

    Args:
        loss: of the tuples; its `scale` and `reduction` are not used.
        name: name of the loss.
        reduction: how Keras reduces the values of the places; the default is their mean.
        dtype: see `TupleLoss`; the default is that of `loss`.

    Raises:
        ValueError: in `call`, `y_pred` is no batch of at least two places with two images each.

    Example:
        >>> loss = PlaceBatchLoss(InfoNCELoss())
        >>> model.compile(optimizer="adam", loss=loss)  # the model returns [places, images, dim], unit vectors
    """

    scales = ("tuple",)

    def __init__(
        self,
        loss: TupleLoss,
        name: str | None = "place_batch",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype or loss.dtype)
        self.loss = loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each place.

        Args:
            y_true: not used.
            y_pred: embeddings of norm 1, [places, images, dim].

        Returns:
            [places], at least float32.

        Raises:
            ValueError: `y_pred` has another rank, or fewer than two places or images a place.
        """
        _check_places(y_pred.shape)
        embeddings = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
        images, dim = y_pred.shape[1:]
        flat = ops.reshape(embeddings, (-1, dim))
        place = ops.repeat(ops.arange(ops.shape(embeddings)[0]), images)
        others = ops.not_equal(place[:, None], place[None, :])
        to_all = _squared_distances(flat)
        values = [
            self.loss.from_distances(ops.reshape(_to_next(embeddings, step), (-1,)), to_all, others)
            for step in range(1, y_pred.shape[1])
        ]
        return ops.mean(ops.reshape(sum(values) / len(values), (-1, images)), axis=1)

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        """That of the loss over tuples."""
        return self.loss.from_distances(positive_distances, negative_distances, mask)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        del config["scale"]
        return {**config, "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PlaceBatchLoss":
        """The other way round."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def _squared_distances(embeddings: Any) -> Any:
    """Between all embeddings [n, dim]: [n, n]."""
    norms = ops.sum(ops.square(embeddings), axis=-1)
    products = ops.matmul(embeddings, ops.transpose(embeddings))
    return ops.maximum(norms[:, None] + norms[None, :] - 2.0 * products, 0.0)


def _to_next(embeddings: Any, step: int) -> Any:
    """Squared distance of each image to the one `step` places further in its place, in a circle: [places, images]."""
    return ops.sum(ops.square(embeddings - ops.roll(embeddings, -step, axis=1)), axis=-1)


def _check_places(shape: tuple[int | None, ...]) -> None:
    if len(shape) == 3 and shape[0] != 1 and shape[1] is not None and shape[1] >= 2:
        return
    raise ValueError(
        "Argument `y_pred` must hold embeddings of shape [places, images, dim], of at least two places with at least "
        f"two images each. Received: y_pred.shape={tuple(shape)}"
    )
