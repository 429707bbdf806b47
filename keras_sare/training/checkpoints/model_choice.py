"""Which model a run of places has saved, and why."""

from dataclasses import dataclass
from typing import Any

from keras_sare.evaluation import RecallReport
from keras_sare.evaluation.json_report import JsonReport


@dataclass(frozen=True)
class ModelChoice(JsonReport):
    """What a run has saved, as its `choice.json` tells.

    Attributes:
        saved: name of the model in `model.keras`.
        reason: why that one.
        kept_epoch: whose weights these models have; 0 before training.
        files: by name, the kept epoch's models in the run's folder.
        validation: by name, what chose between them, reports as of `RecallReport`; empty where nothing was chosen.
        origin: what all of this was made from; the same text where nothing differs.
    """

    saved: str
    reason: str
    kept_epoch: int
    files: dict[str, str]
    validation: dict[str, dict[str, Any]]
    origin: str


def choose(plain: RecallReport, reduced: RecallReport, how: str = "whitened") -> tuple[bool, str]:
    """Chooses between a model as it is and with whitening or a projection at its end, by their validation.

    The mean reciprocal rank decides, whatever chose the epoch: recall at one N is often the same for both, and says
    nothing then. Where it finds no difference the reduced model is chosen: its descriptors are smaller.

    Args:
        plain: recall of the model as it is.
        reduced: the same with whitening or a projection.
        how: which of the two, for the reason: "whitened" or "projected".

    Returns:
        Whether the reduced one is chosen, and why.
    """
    with_it = reduced.mean_reciprocal_rank
    without = plain.mean_reciprocal_rank
    why = f"mean reciprocal rank on {plain.dataset} is {with_it:.4f} {how} and {without:.4f} as it is"
    if with_it == without:
        return True, f"{why}: the smaller descriptor"
    return with_it > without, why
