"""Numbers of a training run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """The recipe of NetVLAD's weakly supervised training; the defaults are those for Pitts30k.

    Reference: Arandjelovic et al., "NetVLAD", CVPR 2016, appendix B; Liu, Li, Dai, ICCV 2019, section 5.

    Attributes:
        epochs: at most so many.
        tuples_per_step: tuples in a batch, over all replicas.
        negatives: negatives per tuple.
        negative_pool: random definite negatives among which the hardest are looked for.
        learning_rate: at the start.
        halve_every: epochs after which the learning rate halves, again and again.
        momentum: of SGD.
        weight_decay: added to the gradient as weight_decay * weight, before the momentum.
        refresh_every: queries after which cached descriptors are recomputed; doubles when the learning rate halves.
        select_by: the N of the validation recall@N that chooses the best epoch (`keras_sare.evaluation.better`). The
            published rule is 5; where that is near 1 before training, it cannot tell epochs apart, and 1 can.
        patience: epochs without a better validation recall after which training stops.
        min_positive: metres; potential positives are farther than this (nearer ones are the same panorama).
        positive_radius: metres; potential positives are within this.
        negative_radius: metres; definite negatives are farther than this. Also the radius of the evaluation.
        extraction_batch: images in a batch where no gradient is needed.
        memory_limit: bytes; larger arrays of descriptors are kept in a file.
        seed: of the order of the queries and of the negatives.
    """

    epochs: int = 30
    tuples_per_step: int = 4
    negatives: int = 10
    negative_pool: int = 1000
    learning_rate: float = 1e-3
    halve_every: int = 5
    momentum: float = 0.9
    weight_decay: float = 1e-3
    refresh_every: int = 1000
    select_by: int = 5
    patience: int = 10
    min_positive: float = 1.0
    positive_radius: float = 10.0
    negative_radius: float = 25.0
    extraction_batch: int = 8
    memory_limit: float = 4e9
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "tuples_per_step",
            "negatives",
            "halve_every",
            "refresh_every",
            "select_by",
            "extraction_batch",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be greater than 0. Received: learning_rate={self.learning_rate}")

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        return self.learning_rate * 0.5 ** self._halvings(epoch)

    def refresh_every_at(self, epoch: int) -> int:
        """Queries between two refreshes of the cached descriptors in an epoch, counted from 1."""
        return self.refresh_every * int(2 ** self._halvings(epoch))

    def _halvings(self, epoch: int) -> int:
        return (epoch - 1) // self.halve_every
