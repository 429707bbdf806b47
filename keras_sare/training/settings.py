"""Numbers of a training run."""

import math
from dataclasses import dataclass

_COUNTS = (
    "epochs",
    "tuples_per_step",
    "negatives",
    "halve_every",
    "refresh_every",
    "select_by",
    "patience",
    "extraction_batch",
    "checkpoint_every",
    "keep_checkpoints",
)

_CHOICES = {
    "mining": ("random", "full"),
    "optimizer": ("sgd", "adam"),
    "schedule": ("halving", "cosine"),
    "select": ("best", "last"),
}


@dataclass(frozen=True)
class TrainingSettings:
    """The recipe of NetVLAD's weakly supervised training; the defaults are those for Pitts30k.

    Reference: Arandjelovic et al., "NetVLAD", CVPR 2016, appendix B; Liu, Li, Dai, ICCV 2019, section 5.

    Attributes:
        epochs: at most so many.
        tuples_per_step: tuples in a batch, over all replicas.
        negatives: negatives per tuple.
        negative_pool: random definite negatives among which the hardest are looked for.
        mining: 'random' looks for them in `negative_pool`, 'full' in the whole database.
        optimizer: 'sgd' with `momentum`, or 'adam', whose steps do not depend on the loss's scale: AdamW of Loshchilov
            and Hutter, ICLR 2019.
        learning_rate: at the start.
        schedule: of the learning rate: 'halving', or 'cosine', which falls to nearly 0 in the last of `epochs`:
            Loshchilov and Hutter, "SGDR", ICLR 2017, section 3, without restarts.
        halve_every: epochs after which the learning rate of the schedule 'halving' halves, again and again.
        momentum: of SGD.
        weight_decay: of SGD: added to the gradient as weight_decay * weight, before the momentum. Of Adam: share of a
            weight that it loses at each step, times the learning rate.
        gradient_chunk: images whose gradient is computed at a time, which bounds the memory of a step; 0 takes all of
            a batch at once.
        jit_compile: whether the step is compiled by XLA.
        database_queries: whether database images are queries of tuples too, each with other database images as positive
            and negatives. For small sets: more tuples from the same photos.
        refresh_every: queries after which cached descriptors are recomputed, rounded down to whole steps; doubles when
            the learning rate halves.
        select: 'best' leaves the model with the epoch of the best validation recall; 'last' with the last one, for a
            schedule that ends near 0 and a validation set too small to tell epochs apart.
        select_by: the N of the validation recall@N that chooses the best epoch (`keras_sare.evaluation.better`). The
            published rule is 5; where that is near 1 before training, it cannot tell epochs apart, and 1 can.
        patience: epochs without a better validation recall after which training stops. Has no effect with
            `select="last"`, where every epoch counts as better.
        min_positive: metres; potential positives are farther than this (nearer ones are the same panorama).
        positive_radius: metres; potential positives are within this.
        negative_radius: metres; definite negatives are farther than this. Also the radius of the evaluation.
        extraction_batch: images in a batch where no gradient is needed.
        memory_limit: bytes; larger arrays of descriptors are kept in a file.
        checkpoint_every: steps of an epoch between two checkpoints; there is one after each refresh and each epoch too.
        keep_checkpoints: number of checkpoints that are kept; the kept epoch's always is.
        seed: of the order of the queries and of the negatives.
    """

    epochs: int = 30
    tuples_per_step: int = 4
    negatives: int = 10
    negative_pool: int = 1000
    mining: str = "random"
    optimizer: str = "sgd"
    learning_rate: float = 1e-3
    schedule: str = "halving"
    halve_every: int = 5
    momentum: float = 0.9
    weight_decay: float = 1e-3
    gradient_chunk: int = 0
    jit_compile: bool = False
    database_queries: bool = False
    refresh_every: int = 1000
    select: str = "best"
    select_by: int = 5
    patience: int = 10
    min_positive: float = 1.0
    positive_radius: float = 10.0
    negative_radius: float = 25.0
    extraction_batch: int = 8
    memory_limit: float = 4e9
    checkpoint_every: int = 200
    keep_checkpoints: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={getattr(self, name)}")
        if self.gradient_chunk < 0:
            raise ValueError(
                "`gradient_chunk` must be a number of images, or 0 for a whole batch at once. "
                f"Received: gradient_chunk={self.gradient_chunk}"
            )
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` must be one of {known}. Received: {name}={getattr(self, name)!r}")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be greater than 0. Received: learning_rate={self.learning_rate}")

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))
        return self.learning_rate * 0.5 ** self._halvings(epoch)

    def refresh_every_at(self, epoch: int) -> int:
        """Queries between two refreshes of the cached descriptors in an epoch, counted from 1."""
        return self.refresh_every * int(2 ** self._halvings(epoch))

    def _halvings(self, epoch: int) -> int:
        return (epoch - 1) // self.halve_every if self.schedule == "halving" else 0
