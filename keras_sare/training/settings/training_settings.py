"""Numbers of a training run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keras_sare.datasets.images.orientation import ORIENTATIONS
from keras_sare.utils.arguments import plain_arguments

_COUNTS = (
    "tuples_per_step",
    "negatives",
    "decay_every",
    "patience",
    "extraction_batch",
    "checkpoint_every",
    "keep_checkpoints",
)


@plain_arguments
@dataclass(frozen=True)
class TrainingSettings:
    """What every recipe has; `PlaceSettings` and `SfMSettings` add how tuples are mined, and the published values.

    Attributes:
        epochs: at most so many; 0 leaves the model as it is.
        tuples_per_step: tuples in a batch, over all replicas.
        negatives: negatives per tuple.
        optimizer: 'sgd' with `momentum`, or 'adam', whose steps do not depend on the loss's scale: AdamW of Loshchilov
            and Hutter, ICLR 2019.
        learning_rate: at the start.
        schedule: of the learning rate: 'halving', or 'step', which divides it by `decay_factor`, or 'cosine', which
            falls to nearly 0 in the last of `epochs`: Loshchilov and Hutter, "SGDR", ICLR 2017, section 3, without
            restarts.
        decay_every: epochs after which the learning rate of the schedules 'halving' and 'step' falls, again and again.
        decay_factor: by which the schedule 'step' divides the learning rate.
        momentum: of SGD.
        weight_decay: of SGD: added to the gradient as weight_decay * weight, before the momentum. Of Adam: share of a
            weight that it loses at each step, times the learning rate.
        gradient_chunk: images whose gradient is computed at a time, which bounds the memory of a step; 0 takes all of
            a batch at once.
        jit_compile: whether the step is compiled by XLA.
        select: 'best' leaves the model with the epoch that is best by validation; 'last' with the last one, for a
            schedule that ends near 0 and a validation set too small to tell epochs apart.
        keep_untrained: whether the model before training, epoch 0, may be the best epoch. The originals choose among
            trained ones alone. Has no effect with `select="last"`.
        patience: epochs without a better validation after which training stops. Has no effect with `select="last"`,
            where every epoch counts as better. The originals train all epochs.
        extraction_batch: images in a batch where no gradient is needed.
        memory_limit: bytes; larger arrays of descriptors are kept in a file.
        checkpoint_every: steps of an epoch between two checkpoints; there is one after each refresh and each epoch too.
        keep_checkpoints: number of checkpoints that are kept; the kept epoch's always is.
        seed: of the order of the queries and of the negatives.
        orientation: 'upright' reads images as viewers show them, 'stored' as their pixels are stored, as the methods'
            original programs do; see `keras_sare.datasets.decode_image`. What describes images for the finished model
            must read them likewise: an export follows its run.
    """

    epochs: int = 30
    tuples_per_step: int = 4
    negatives: int = 10
    optimizer: str = "sgd"
    learning_rate: float = 1e-3
    schedule: str = "halving"
    decay_every: int = 5
    decay_factor: float = 5.0
    momentum: float = 0.9
    weight_decay: float = 1e-3
    gradient_chunk: int = 0
    jit_compile: bool = False
    select: str = "best"
    keep_untrained: bool = True
    patience: int = 10
    extraction_batch: int = 8
    memory_limit: float = 4e9
    checkpoint_every: int = 200
    keep_checkpoints: int = 2
    seed: int = 0
    orientation: str = "upright"

    def __post_init__(self) -> None:
        check_counts(self, _COUNTS)
        check_choice(self, "optimizer", ("sgd", "adam"))
        check_choice(self, "schedule", ("halving", "step", "cosine"))
        check_choice(self, "select", ("best", "last"))
        check_choice(self, "orientation", ORIENTATIONS)
        if self.epochs < 0:
            raise ValueError(f"`epochs` must be at least 0. Received: epochs={self.epochs}")
        if self.gradient_chunk < 0:
            raise ValueError(
                "`gradient_chunk` must be a number of images, or 0 for a whole batch at once. "
                f"Received: gradient_chunk={self.gradient_chunk}"
            )
        for name in ("learning_rate", "decay_factor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be greater than 0. Received: {name}={getattr(self, name)}")

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / max(self.epochs, 1)))
        factor = 2.0 if self.schedule == "halving" else self.decay_factor
        return self.learning_rate * factor ** -self.decays_before(epoch)

    def decays_before(self, epoch: int) -> int:
        """How often the learning rate fell before an epoch, counted from 1; 0 for the schedule 'cosine'."""
        return 0 if self.schedule == "cosine" else (epoch - 1) // self.decay_every

    def steps_per_refresh(self, epoch: int, steps: int) -> int:
        """Steps between two refreshes of the cached descriptors.

        Args:
            epoch: counted from 1.
            steps: of that epoch.

        Returns:
            All steps of the epoch, unless a recipe says otherwise.
        """
        return steps


def check_counts(settings: TrainingSettings, names: Iterable[str]) -> None:
    """Checks that some settings are at least 1.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={getattr(settings, name)}")


def check_choice(settings: TrainingSettings, name: str, known: tuple[Any, ...]) -> None:
    """Checks that a setting has one of the known values.

    Raises:
        ValueError: it has another.
    """
    if getattr(settings, name) not in known:
        raise ValueError(f"`{name}` must be one of {known}. Received: {name}={getattr(settings, name)!r}")
