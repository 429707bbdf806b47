"""Stochastic attraction-repulsion embedding (SARE)."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_sare.losses.base import TupleLoss, unsquared

# log k(d) of a squared distance d. Everything stays in logarithms, where no far negative overflows or underflows.
_LOG_KERNELS: dict[str, Callable[[Any], Any]] = {
    "gaussian": lambda d: -d,
    "cauchy": lambda d: -ops.log1p(d),
    "exponential": lambda d: -unsquared(d),
}

# log_ratios[:, i] = log(k(negative i) / k(positive)).
_MODES: dict[str, Callable[[Any], Any]] = {
    "independent": lambda log_ratios: ops.mean(ops.softplus(log_ratios), axis=-1),
    "joint": lambda log_ratios: ops.softplus(ops.logsumexp(log_ratios, axis=-1)),
}


def sare(positive_distances: Any, negative_distances: Any, kernel: str = "gaussian", mode: str = "independent") -> Any:
    """SARE loss of each tuple from its squared distances; `SARELoss` documents the formulas.

    Args:
        positive_distances: squared distances from the query to its positive, [batch]. They are not cast: float32 or
            float64 is expected.
        negative_distances: squared distances from the query to its negatives, [batch, negatives], same dtype.
        kernel: "gaussian", "cauchy" or "exponential".
        mode: "independent" or "joint".

    Returns:
        [batch].

    Raises:
        ValueError: `kernel` or `mode` is unknown.
    """
    log_kernel = _named("kernel", kernel, _LOG_KERNELS)
    combine = _named("mode", mode, _MODES)
    positives = ops.expand_dims(positive_distances, -1)
    return combine(log_kernel(negative_distances) - log_kernel(positives))


@keras.saving.register_keras_serializable(package="keras_sare")
class SARELoss(TupleLoss):
    """Stochastic attraction-repulsion embedding: the positive must be a likelier match than the negatives.

    With p the positive, n the negatives and d a squared distance to the query, a match has the probability
    k(d_p) / (k(d_p) + k(d_n)), and the loss of a tuple is its negative logarithm:

        independent: mean over n of log(1 + k(d_n) / k(d_p)), each negative against the positive on its own
        joint:       log(1 + sum over n of k(d_n) / k(d_p)), one softmax over the positive and all negatives

        gaussian: k(d) = exp(-d)    cauchy: k(d) = 1 / (1 + d)    exponential: k(d) = exp(-sqrt(d))

    There is no margin and no temperature. The exponential kernel has no gradient where query and image coincide; here
    it is 0.

    Scale of the gradient. The default is the mean over tuples, for both modes. The authors' code (deepIBL, MatConvNet)
    divides the gradient by batch x negatives in both modes. For the independent mode that is the same as here; for the
    joint mode its gradient is smaller by the number of negatives (10 there), so at the same learning rate its steps
    are too.

    Liu, Li and Dai, "Stochastic Attraction-Repulsion Embedding for Large Scale Image Localization", ICCV 2019.

    Args:
        kernel: "gaussian", "cauchy" or "exponential".
        mode: "independent" or "joint".
        name: name of the loss.
        reduction: how Keras reduces the values of the tuples; the default is their mean.
        dtype: see `TupleLoss`.

    Raises:
        ValueError: `kernel` or `mode` is unknown; in `call`, `y_pred` is no batch of tuples.

    Example:
        >>> loss = SARELoss(kernel="gaussian", mode="joint")
        >>> model.compile(optimizer="sgd", loss=loss)  # the model returns [batch, 2 + negatives, dim]
    """

    def __init__(
        self,
        kernel: str = "gaussian",
        mode: str = "independent",
        name: str | None = "sare",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        _named("kernel", kernel, _LOG_KERNELS)
        _named("mode", mode, _MODES)
        self.kernel = kernel
        self.mode = mode

    def from_distances(self, positive_distances: Any, negative_distances: Any) -> Any:
        """SARE of each tuple from its squared distances, [batch]."""
        return sare(positive_distances, negative_distances, self.kernel, self.mode)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "kernel": self.kernel, "mode": self.mode}


def _named(argument: str, name: str, known: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    if name not in known:
        raise ValueError(f"Argument `{argument}` must be one of {tuple(known)}. Received: {argument}={name!r}.")
    return known[name]
