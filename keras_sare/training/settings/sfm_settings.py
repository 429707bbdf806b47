"""Numbers of a training run on photos of 3D models."""

from dataclasses import dataclass

from keras_sare.training.settings.training_settings import TrainingSettings, check_counts
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
@dataclass(frozen=True)
class SfMSettings(TrainingSettings):
    """The recipe of MAC's training on structure from motion; the defaults are the published ones but `keep_untrained`.

    Reference: Radenovic, Tolias, Chum, "CNN Image Retrieval Learns from BoW", ECCV 2016, section 5.1.

    Attributes:
        positive: how the positive is chosen: 'm1', 'm2', 'm3', or 'pairs' for published pairs; see
            `keras_sare.mining.SfMTupleMiner`, as for the next three.
        negatives_from: 'N1', or 'N2' for at most one negative of a cluster.
        negative_pool: random images of an epoch that may be negatives.
        queries_per_epoch: random queries of an epoch; None takes all of them.
        mine_times: how often an epoch mines its tuples at most, each time with the descriptors of the weights at that
            moment. It is cut into windows of equally many steps, the last of which may have fewer; of few steps fewer
            windows may do: 4 steps that are to be cut into 3 are 2 and 2.
    """

    tuples_per_step: int = 5
    negatives: int = 5
    schedule: str = "step"
    decay_every: int = 10
    weight_decay: float = 5e-4
    patience: int = 30
    positive: str = "m3"
    negatives_from: str = "N2"
    negative_pool: int = 20_000
    queries_per_epoch: int | None = None
    mine_times: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, ("mine_times",))

    def steps_per_refresh(self, epoch: int, steps: int) -> int:
        """Steps between two refreshes of the cached descriptors; see `TrainingSettings`."""
        return -(-steps // self.mine_times)
