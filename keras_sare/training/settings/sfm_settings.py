"""Numbers of a training run on photos of 3D models."""

from dataclasses import dataclass

from keras_sare.training.settings.training_settings import TrainingSettings
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.settings import setting


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

    tuples_per_step: int = setting(5, "Tuples in a batch.", least=1)
    negatives: int = setting(5, "Hard negatives per tuple.", least=1)
    schedule: str = setting(
        "step",
        "Learning rate: divided by 5 every 10 epochs, halves, or falls to nearly 0.",
        choices=("halving", "step", "cosine"),
    )
    decay_every: int = setting(10, "", least=1)
    weight_decay: float = setting(5e-4, "Weight decay of SGD or of AdamW.", least=0)
    patience: int = setting(30, "Epochs without better validation after which training stops.", least=1)
    positive: str = setting("m3", "Rule of positives: m1, m2, m3, or pairs, those of a published list.")
    negatives_from: str = setting("N2", "N2: at most one negative of a cluster.", choices=("N1", "N2"))
    negative_pool: int = setting(20_000, "Random images of an epoch that may be negatives.", least=1)
    queries_per_epoch: int | None = setting(
        None, "Random queries of an epoch, at most; without it all, as the paper's MATLAB code. Its PyTorch code: 2000."
    )
    mine_times: int = setting(
        3,
        "How often an epoch mines its tuples: 3 times in the paper's MATLAB code, once in its PyTorch code.",
        least=1,
    )

    def steps_per_refresh(self, epoch: int, steps: int) -> int:
        """Steps between two refreshes of the cached descriptors; see `TrainingSettings`."""
        return -(-steps // self.mine_times)
