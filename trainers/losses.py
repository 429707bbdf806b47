"""Losses of the training programs by name, and how they scale the gradient of a batch."""

from collections.abc import Callable, Mapping

from keras_sare.losses import ContrastiveLoss, InfoNCELoss, MultiSimilarityLoss, SARELoss, TripletLoss, TupleLoss

LOSS_SCALES = ("published", "tuple")
"""What the flag `loss_scale` may be: the scale of the code that a recipe follows, or the mean over tuples."""

PLACE_SCALES = {"sare_independent": "deepibl", "sare_joint": "deepibl", "triplet": "netvlad"}
"""Published scales of NetVLAD's and SARE's code by loss; there are none of other losses. See `TupleLoss`."""

RETRIEVAL_SCALES = {"sare_independent": "deepibl", "sare_joint": "deepibl"} | dict.fromkeys(
    ("contrastive", "triplet"), "cnnimageretrieval"
)
"""Those of the code of "CNN Image Retrieval Learns from BoW", and SARE's."""

_Losses = Mapping[str, Callable[[str], TupleLoss]]


def place_losses(kernel: str = "gaussian") -> _Losses:
    """Losses of `trainers.pitts`, each made from a scale.

    Args:
        kernel: of SARE.
    """
    return {
        "sare_independent": lambda scale: SARELoss(kernel, "independent", scale=scale),
        "sare_joint": lambda scale: SARELoss(kernel, "joint", scale=scale),
        "triplet": lambda scale: TripletLoss(scale=scale),
        "contrastive": lambda scale: ContrastiveLoss(scale=scale),
        "multi_similarity": lambda scale: MultiSimilarityLoss(scale=scale),
        "info_nce": lambda scale: InfoNCELoss(scale=scale),
    }


def retrieval_losses(tau: float = 0.7) -> _Losses:
    """Losses of `trainers.retrieval_sfm`, each made from a scale.

    Args:
        tau: margin of the contrastive loss.
    """
    places = place_losses()
    return {
        "contrastive": lambda scale: ContrastiveLoss(tau, scale=scale),
        **{name: places[name] for name in ("triplet", "sare_independent", "sare_joint")},
    }


def scale_of(loss: str, loss_scale: str, published: Mapping[str, str]) -> str:
    """Scale of the gradient of a loss, see `TupleLoss`.

    Args:
        loss: name of the loss.
        loss_scale: one of `LOSS_SCALES`.
        published: published scales by loss; "tuple" for others.
    """
    return published.get(loss, "tuple") if loss_scale == "published" else "tuple"
