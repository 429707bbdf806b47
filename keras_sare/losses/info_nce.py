"""InfoNCE: a softmax over cosine similarities."""

from typing import Any

import keras

from keras_sare.losses.base import TupleLoss, check_positive
from keras_sare.losses.registry import register
from keras_sare.losses.sare import sare
from keras_sare.utils.arguments import plain_arguments


@register("info_nce", published={"places": "tuple"})
@keras.saving.register_keras_serializable(package="keras_sare")
class InfoNCELoss(TupleLoss):
    """InfoNCE (NT-Xent) on tuples: the cross entropy of finding the positive among the negatives.

    The loss of a tuple, with s the cosine similarity to the query, which is taken from the squared distance between
    L2-normalised embeddings, s = 1 - d / 2:

        log(1 + sum over n of exp((s_n - s_p) / temperature))

    It is joint Gaussian SARE at twice the temperature (d_p - d_n = 2 s_n - 2 s_p), and at 0.07 the `sare_joint` of
    OpenIBL's self-supervised trainer (SFRS). A tuple without negatives costs 0.

    van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, section 2.3, as
    Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, section 2.1 use it.

    Args:
        temperature: positive; the smaller, the more the nearest negative outweighs the others.
        name: name of the loss.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: see `TupleLoss`.
        scale: "tuple", "divide_by_negatives" or "divide_by_pairs"; see `TupleLoss`.

    Raises:
        ValueError: `temperature` is no positive number or `scale` unknown; in `call`, `y_pred` is no batch of tuples.

    Example:
        >>> loss = InfoNCELoss(temperature=0.07)
        >>> model.compile(optimizer="sgd", loss=loss)  # the model returns [batch, 2 + negatives, dim], unit vectors
    """

    @plain_arguments
    def __init__(
        self,
        temperature: float = 0.07,
        name: str | None = "info_nce",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
        scale: str = "tuple",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype, scale=scale)
        check_positive("temperature", temperature)
        self.temperature = temperature

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        """InfoNCE of each tuple from the squared distances between its unit vectors, [batch]."""
        return sare(positive_distances, negative_distances, "gaussian", "joint", 2 * self.temperature, mask)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "temperature": self.temperature}
