"""Numbers of a training run."""

import math
from dataclasses import dataclass

from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.settings import ORIENTATIONS, check_settings, setting


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
        mirror: whether half of the steps, drawn at random, train on their batch mirrored left to right: on what the
            trained layers take, pixels or the frozen layers' maps. Those are nearly what mirrored photos give, for
            no more computation. All images of a batch are mirrored or none: a mirrored city has places too, and a place
            and its mirror image never meet.
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

    epochs: int = setting(30, "At most so many epochs; 0: no training.", least=0)
    tuples_per_step: int = setting(4, "Tuples in a batch.", least=1)
    negatives: int = setting(10, "Hard negatives per tuple.", least=1)
    optimizer: str = setting("sgd", "SGD with momentum, or AdamW.", choices=("sgd", "adam"))
    learning_rate: float = setting(1e-3, "Learning rate at the start.")
    schedule: str = setting(
        "halving",
        "Learning rate: halves every 5 epochs, is divided by 5 every 10, or falls to nearly 0.",
        choices=("halving", "step", "cosine"),
    )
    decay_every: int = setting(5, "", least=1)
    decay_factor: float = 5.0
    momentum: float = 0.9
    weight_decay: float = setting(1e-3, "Weight decay of SGD or of AdamW.", least=0)
    gradient_chunk: int = setting(0, "Images back-propagated at a time; 0: a whole batch.", least=0)
    jit_compile: bool = setting(False, "Compile the training step with XLA.")
    mirror: bool = setting(False, "Mirror half of the batches left to right: more places from the same photos.")
    select: str = setting("best", "Epoch that is kept: the best by validation, or the last.", choices=("best", "last"))
    keep_untrained: bool = setting(True, "Let the model before training be the best epoch.")
    patience: int = setting(10, "Epochs without better validation after which training stops.", least=1)
    extraction_batch: int = setting(8, "Images whose descriptors are extracted at a time.", least=1)
    memory_limit: float = 4e9
    checkpoint_every: int = setting(200, "Steps between checkpoints.", least=1)
    keep_checkpoints: int = setting(2, "Last checkpoints kept.", least=1)
    seed: int = setting(0, "Random seed.")
    orientation: str = setting("upright", "Photos as viewers show them, or as stored.", choices=ORIENTATIONS)

    def __post_init__(self) -> None:
        check_settings(self)
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
