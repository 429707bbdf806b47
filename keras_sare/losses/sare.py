"""Stochastic attraction-repulsion embedding (SARE)."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_sare.losses.base import FAR, TupleLoss, check_positive, count_negatives, masked, unsquared
from keras_sare.losses.registry import Use, register
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.choices import check_choice

# log k(d) of a squared distance d. Everything stays in logarithms, where no far negative overflows or underflows.
_LOG_KERNELS: dict[str, Callable[[Any], Any]] = {
    "gaussian": lambda d: -d,
    "cauchy": lambda d: -ops.log1p(d),
    "exponential": lambda d: -unsquared(d),
}
_MODES = ("independent", "joint")
# What deepIBL does. There is no code that trains SARE for object retrieval; the program for that takes the same.
_DEEPIBL: dict[Use, str] = {"places": "divide_by_negatives", "retrieval": "divide_by_negatives"}


def sare(
    positive_distances: Any,
    negative_distances: Any,
    kernel: str = "gaussian",
    mode: str = "independent",
    temperature: float | None = None,
    mask: Any = None,
) -> Any:
    """SARE loss of each tuple from its squared distances; `SARELoss` documents the formulas.

    Args:
        positive_distances: squared distances from the query to its positive, [batch]. They are not cast: float32 or
            float64 is expected.
        negative_distances: squared distances from the query to its negatives, [batch, negatives], same dtype.
        kernel: "gaussian", "cauchy" or "exponential".
        mode: "independent" or "joint".
        temperature: positive; divides the log-ratios. None, as in the paper, is 1.
        mask: [batch, negatives], nonzero where a negative counts; None where all do.

    Returns:
        [batch].

    Raises:
        ValueError: `kernel` or `mode` is unknown, or `temperature` is no positive number.
    """
    _check_arguments(kernel, mode, temperature)
    log_kernel = _LOG_KERNELS[kernel]
    positives = ops.expand_dims(positive_distances, -1)
    negatives = masked(negative_distances, mask, FAR)
    # log_ratios[:, i] = log(k(negative i) / k(positive)).
    log_ratios = log_kernel(negatives) - log_kernel(positives)
    if temperature is not None:
        log_ratios = log_ratios / temperature
    # FAR is not far enough for the Cauchy kernel, which falls slowly.
    log_ratios = masked(log_ratios, mask, -FAR)
    if mode == "joint":
        return ops.softplus(ops.logsumexp(log_ratios, axis=-1))
    total = ops.sum(ops.softplus(log_ratios), axis=-1)
    return total / ops.maximum(count_negatives(negative_distances, mask), 1)


@register("sare_joint", published=_DEEPIBL, mode="joint")
@register("sare_independent", published=_DEEPIBL, mode="independent")
@keras.saving.register_keras_serializable(package="keras_sare")
class SARELoss(TupleLoss):
    """Stochastic attraction-repulsion embedding: the positive must be a likelier match than the negatives.

    With p the positive, n the negatives and d a squared distance to the query, a match has the probability
    k(d_p) / (k(d_p) + k(d_n)), and the loss of a tuple is its negative logarithm:

        independent: mean over n of log(1 + k(d_n) / k(d_p)), each negative against the positive on its own
        joint:       log(1 + sum over n of k(d_n) / k(d_p)), one softmax over the positive and all negatives

        gaussian: k(d) = exp(-d)    cauchy: k(d) = 1 / (1 + d)    exponential: k(d) = exp(-sqrt(d))

    A tuple without negatives costs 0. The exponential kernel has no gradient where query and image coincide; here it
    is 0.

    The paper has no margin and no temperature. With one, k becomes k^(1 / temperature). Between unit vectors the joint
    Gaussian form is a softmax over dot products at half the temperature (0.5 in the paper), as in `InfoNCELoss`.
    OpenIBL trains its self-supervised model (SFRS) on dot products at 0.07: here `temperature=0.14`, in both modes.

    Scale of the gradient. The default is the mean over tuples, for both modes, as in OpenIBL. The authors' code
    (deepIBL, MatConvNet) divides the gradient by batch x negatives in both modes: `scale="divide_by_negatives"`. For
    the independent mode that is the same; for the joint mode the gradient is smaller by the number of negatives (10
    there), so at the same learning rate its steps are too.

    Liu, Li and Dai, "Stochastic Attraction-Repulsion Embedding for Large Scale Image Localization", ICCV 2019.

    Args:
        kernel: "gaussian", "cauchy" or "exponential".
        mode: "independent" or "joint".
        temperature: positive; divides the log-ratios log(k(d_n) / k(d_p)). None, as in the paper, is 1.
        name: name of the loss.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: see `TupleLoss`.
        scale: "tuple", "divide_by_negatives" or "divide_by_pairs"; see `TupleLoss`.

    Raises:
        ValueError: `kernel`, `mode` or `scale` is unknown, or `temperature` is no positive number; in `call`, `y_pred`
            is no batch of tuples.

    Example:
        >>> loss = SARELoss(kernel="gaussian", mode="joint")
        >>> model.compile(optimizer="sgd", loss=loss)  # the model returns [batch, 2 + negatives, dim]
    """

    @plain_arguments
    def __init__(
        self,
        kernel: str = "gaussian",
        mode: str = "independent",
        temperature: float | None = None,
        name: str | None = "sare",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
        scale: str = "tuple",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype, scale=scale)
        _check_arguments(kernel, mode, temperature)
        self.kernel = kernel
        self.mode = mode
        self.temperature = temperature
        self.averages_negatives = mode == "independent"

    def from_distances(self, positive_distances: Any, negative_distances: Any, mask: Any = None) -> Any:
        """SARE of each tuple from its squared distances, [batch]."""
        return sare(positive_distances, negative_distances, self.kernel, self.mode, self.temperature, mask)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own = {"kernel": self.kernel, "mode": self.mode, "temperature": self.temperature}
        return {**super().get_config(), **own}


def _check_arguments(kernel: str, mode: str, temperature: float | None) -> None:
    check_choice("kernel", kernel, _LOG_KERNELS)
    check_choice("mode", mode, _MODES)
    if temperature is not None:
        check_positive("temperature", temperature)
