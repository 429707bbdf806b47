"""Settings of `trainers.ablation`."""

import dataclasses
import re

from keras_sare.utils.settings import setting
from trainers.config.config import Config

_BUDGET = re.compile(r"(?=\d)(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationConfig(Config):
    """Trainings with all combinations of some settings, and several seeds of each.

    Attributes:
        passed_on: flags that every run of `trainers.pitts` gets.
    """

    root: str = setting("", "Dataset, as for trainers.pitts.", required=True)
    output: str = setting("", "Folder for the runs and the tables.", required=True)
    grid: tuple[str, ...] = setting(
        (),
        "A setting of trainers.pitts and its values: loss=sare_joint,triplet. Again for each further setting. Values "
        "that are lists stand between semicolons: image_size=192,256;384,512.",
        repeated=True,
    )
    seeds: tuple[str, ...] = setting(("0", "1", "2"), "Random seeds of each combination.")
    baseline: tuple[str, ...] = setting(
        (),
        "Value of a setting of --grid in the combination that the others are tested against: loss=triplet. Again for "
        "each further setting; by default the first values.",
        repeated=True,
    )
    budget: str = setting("", "Time in which runs may be started: 6h, 90m or 1h30m. A run that would not end is not.")
    measure_on: tuple[str, ...] = setting(
        (),
        "Places that are not trained on, to measure each model on: NAME=FOLDER:SPLIT, or NAME=FOLDER:SPLIT:PROTOCOL.",
    )
    test: bool = setting(False, "Show the test split's figures too, when all runs are done: to tell, not to choose.")
    passed_on: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks every setting by itself.

        Raises:
            ValueError: one is missing, a seed is no whole number, or the budget is no time.
        """
        super().check()
        if not self.seeds or not all(str(seed).isdecimal() for seed in self.seeds):
            raise ValueError(f"`seeds` must be whole numbers. Received: seeds={','.join(map(str, self.seeds))}")
        self.budget_seconds()

    def budget_seconds(self) -> float | None:
        """Seconds in which runs may be started; None for no limit."""
        if not self.budget:
            return None
        found = _BUDGET.fullmatch(self.budget)
        if not found:
            raise ValueError(f"`budget` must be a time such as 6h, 90m or 1h30m. Received: budget={self.budget!r}")
        hours, minutes = (float(part or 0) for part in found.groups())
        return 3600 * hours + 60 * minutes
