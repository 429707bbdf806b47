"""Settings of `trainers.compare_losses`."""

import dataclasses

from keras_sare.utils.settings import setting
from trainers.config.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """Trainings with several losses and seeds.

    Attributes:
        passed_on: flags that every run of `trainers.pitts` gets.
    """

    root: str = setting("", "Dataset, as for trainers.pitts.", required=True)
    output: str = setting("", "Folder for the runs and the tables.", required=True)
    losses: tuple[str, ...] = setting(
        ("sare_independent", "sare_joint", "triplet", "contrastive"), "Losses to compare."
    )
    seeds: tuple[str, ...] = setting(("0", "1", "2"), "Random seeds of each loss.")
    passed_on: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks every setting by itself.

        Raises:
            ValueError: one is missing, or a seed is no whole number.
        """
        super().check()
        if not all(str(seed).isdecimal() for seed in self.seeds):
            raise ValueError(f"`seeds` must be whole numbers. Received: seeds={','.join(map(str, self.seeds))}")
