"""Which settings a resumed run may have otherwise than before, so that its record tells what was done."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHANGEABLE = frozenset(
    {
        "checkpoint_every",
        "dim",
        "extraction_batch",
        "epochs",
        "keep_checkpoints",
        "learning_rate",
        "max_corrupt_share",
        "max_pixels",
        "patience",
        "store_gb",
        "whitening",
    }
)
"""Settings that a resumed run may have otherwise than the run that it continues; `epochs` only where the learning rate
does not depend on it, or where no step was trained. How a step is computed, in chunks or on several replicas, is not
among them: where there is batch normalisation or dropout it changes more than the rounding."""

AFTER_TRAINING = frozenset({"dim", "extraction_batch", "max_corrupt_share", "max_pixels", "store_gb", "whitening"})
"""Those of them that have an effect when all epochs are trained: whitening and evaluation are done again."""

_EARLIER = {"orientation": "stored", "loss_scale": "tuple", "keep_untrained": True}

_UNTIL = ("epochs", "patience")

Settings = Mapping[str, Any]


def complete(settings: Settings) -> dict[str, Any]:
    """Adds what runs of earlier versions did without naming it."""
    whitening = "learned" if "whitening_side" in settings else "pca"
    return {**_EARLIER, "whitening": whitening, **settings}


def differences(before: Settings, now: Settings) -> list[str]:
    """Names of settings that differ, in the order of the settings."""
    before = complete(before)
    now = complete(now)
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def last_state(checkpoints: Path) -> dict[str, Any]:
    """Where a run stands by its last checkpoint that can be read, as `RunState` without weights; empty without one."""
    for path in sorted(checkpoints.glob("epoch-*"), reverse=True):
        try:
            return dict(json.loads((path / "state.json").read_text())["state"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # Half-written or damaged: training passes it over too.
    return {}


def check_changes(before: Settings, now: Settings, state: Mapping[str, Any]) -> None:
    """Checks that a run may be resumed with other settings.

    Args:
        before: settings of the run so far.
        now: those that it is to go on with.
        state: where it stands, see `last_state`.

    Raises:
        ValueError: a setting must not change, or its change would have no effect.
    """
    changed = differences(before, now)
    trained = bool(state) and bool(state["epoch"] or state["running"]["losses"])
    cosine = before.get("schedule") == "cosine" and trained
    changeable = CHANGEABLE - {"epochs"} if cosine else CHANGEABLE
    if forbidden := [name for name in changed if name not in changeable]:
        why = ", not `epochs`, which the learning rate of the schedule 'cosine' depends on" if cosine else ""
        raise ValueError(
            f"A run is resumed with the settings that it was started with; only {', '.join(sorted(changeable))} may "
            f"change{why}. Received: {_told(forbidden, before, now)}"
        )
    if not state:
        return
    if "epochs" in changed and now["epochs"] < state["epoch"]:
        raise ValueError(
            f"`epochs` must be at least {state['epoch']}, those that the run has trained. "
            f"Received: epochs={now['epochs']}"
        )
    if not _is_over(now, state):
        return
    effective = AFTER_TRAINING if _is_over(before, state) else AFTER_TRAINING.union(_UNTIL)
    if idle := [name for name in changed if name not in effective]:
        raise ValueError(
            f"The run has trained all of its {state['epoch']} epochs: {', '.join(idle)} would have no effect. Leave "
            "that as it was, or give the run more `epochs` or `patience` beside it, or start a new run. "
            f"Received: {_told(idle, before, now)}"
        )


def _is_over(settings: Settings, state: Mapping[str, Any]) -> bool:
    """Whether no epoch is left to train; see `Trainer`."""
    stale = state["epoch"] - state["best_epoch"] >= settings.get("patience", math.inf)
    return bool(state["epoch"] >= settings.get("epochs", math.inf) or stale)


def _told(names: list[str], before: Settings, now: Settings) -> str:
    before = complete(before)
    now = complete(now)
    return ", ".join(f"{name}: {before.get(name)!r} before, {now.get(name)!r} now" for name in names)
