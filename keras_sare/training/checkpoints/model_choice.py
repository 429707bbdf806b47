"""Which model a run of places has saved, and why."""

from dataclasses import dataclass
from typing import Any

from keras_sare.evaluation import RecallReport, better
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


def choose(plain: RecallReport, whitened: RecallReport, select_by: int) -> tuple[bool, str]:
    """Chooses between a model without whitening and with it by their validation.

    The rule is the one that chooses the epoch, `keras_sare.evaluation.better`. Where it finds no difference the
    whitened model is chosen: its descriptors are smaller.

    Args:
        plain: recall without whitening.
        whitened: the same with it.
        select_by: the N of recall@N that decides.

    Returns:
        Whether the whitened one is chosen, and why.
    """
    n = max((n for n in plain.ns if n <= select_by), default=plain.ns[0])
    why = f"recall@{n} on {plain.dataset} is {whitened.at(n):.3f} with whitening and {plain.at(n):.3f} without"
    if better(plain, whitened, select_by):
        return False, why if plain.at(n) > whitened.at(n) else f"{why}, and at other N higher without"
    if better(whitened, plain, select_by):
        return True, why if whitened.at(n) > plain.at(n) else f"{why}, and at other N higher with it"
    return True, f"{why}, alike at all N: the smaller descriptor"
