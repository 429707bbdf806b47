"""What the flags of the training programs make of a loss's name."""

from collections.abc import Callable, Mapping
from typing import Any

from keras_sare import losses
from keras_sare.losses import LOSSES, InfoNCELoss, SARELoss, TupleLoss

PLACE_SCALES = {name: entry.published["places"] for name, entry in LOSSES.items() if "places" in entry.published}
"""Losses of `trainers.pitts`, and the scale at which published code trains them; see `TupleLoss`."""

RETRIEVAL_SCALES = {
    name: entry.published["retrieval"] for name, entry in LOSSES.items() if "retrieval" in entry.published
}
"""Those of `trainers.retrieval_sfm`."""

_Losses = Mapping[str, Callable[[str], TupleLoss]]


def place_losses(kernel: str = "gaussian", temperature: float | None = None) -> _Losses:
    """Losses of `trainers.pitts`, each made from a scale.

    Args:
        kernel: of SARE; no other loss has one.
        temperature: of SARE and InfoNCE; None takes the loss's own.
    """
    chosen: dict[type[TupleLoss], dict[str, Any]] = {SARELoss: {"kernel": kernel}, InfoNCELoss: {}}
    if temperature is not None:
        chosen = {loss: {**arguments, "temperature": temperature} for loss, arguments in chosen.items()}
    return {name: _maker(name, chosen.get(LOSSES[name].loss, {})) for name in PLACE_SCALES}


def retrieval_losses(tau: float = 0.7) -> _Losses:
    """Losses of `trainers.retrieval_sfm`, each made from a scale.

    Args:
        tau: margin of the contrastive loss.
    """
    return {name: _maker(name, {"margin": tau} if name == "contrastive" else {}) for name in RETRIEVAL_SCALES}


def scale_of(loss: str, loss_scale: str, published: Mapping[str, str]) -> str:
    """Scale of the gradient of a loss, see `TupleLoss`.

    Args:
        loss: name of the loss.
        loss_scale: "published", the scale of the code that a recipe follows, or "tuple", the mean over tuples.
        published: published scales by loss.
    """
    return published[loss] if loss_scale == "published" else "tuple"


def _maker(name: str, arguments: Mapping[str, Any]) -> Callable[[str], TupleLoss]:
    return lambda scale: losses.get(name, scale=scale, **arguments)
