"""Where a run stands."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class EpochState:
    """The part of an epoch that is done.

    An epoch is cut into windows: refresh of the cached descriptors, mining, training on the tuples.

    Attributes:
        window: windows that are complete.
        tuples: int64 [tuples, 2 + negatives] ids of the present window's images, query, positive, negatives; None
            before it is mined.
        step: steps done in the present window.
        losses: of all steps of the epoch so far.
        violating: tuples mined in the epoch so far whose hardest negative is nearer than the positive plus the margin.
        seconds: where the time went so far.
    """

    window: int = 0
    tuples: np.ndarray | None = None
    step: int = 0
    losses: list[float] = field(default_factory=list)
    violating: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class RunState:
    """Everything of a run that is neither weights, nor optimizer, nor remembered negatives.

    Nothing random is in it: every draw depends on (seed, epoch, query) alone.

    Attributes:
        epoch: epochs that are complete.
        best_epoch: the one that is kept, best by validation, or with `select="last"` the last one; 0 is the model
            before training.
        best: JSON of its validation's report.
        refreshes: how often the cached descriptors were computed, the version of the cache.
        history: one row of figures for each epoch, from epoch 0.
        running: the epoch after the complete ones.
    """

    epoch: int = 0
    best_epoch: int = 0
    best: str = ""
    refreshes: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    running: EpochState = field(default_factory=EpochState)
