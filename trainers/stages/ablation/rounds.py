"""Run after run of a grid, as far as the time allows."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from keras_sare.evaluation.comparisons.grid_runs import GridRun
from keras_sare.utils.progress import duration
from trainers.stages.ablation.measured_sets import MeasuredSet
from trainers.stages.ablation.results import write_results
from trainers.stages.ablation.runs import Planned, is_measured, measure, read, seconds_again, tail, train

logger = logging.getLogger("keras_sare.ablation")


@dataclass(frozen=True)
class Budget:
    """Time in which runs may be started.

    Attributes:
        seconds: of it; None for no limit.
        started: when it began, by `time.monotonic`.
    """

    seconds: float | None
    started: float

    def allows(self, seconds: float | None) -> bool:
        """Whether a run may be started that takes about so long; None where nothing is known of that."""
        return self.seconds is None or time.monotonic() - self.started + (seconds or 0.0) <= self.seconds


class Rounds:
    """The runs of a grid.

    Args:
        output: folder of the grid.
        baseline: the combination that the others are tested against.
        runs: all that are wanted, in their order.
        sets: that each one's models are measured on.
        passed_on: flags that every run of `trainers.pitts` gets.

    Attributes:
        failed: runs that came to no end.
        left: runs for which there was no time.
    """

    def __init__(
        self,
        output: Path,
        baseline: str,
        runs: Sequence[Planned],
        sets: Sequence[MeasuredSet],
        passed_on: Sequence[str],
    ) -> None:
        self.output = output
        self.baseline = baseline
        self.runs = runs
        self.sets = sets
        self.passed_on = passed_on
        self.failed: list[Planned] = []
        self.left: list[Planned] = []
        self._finished: dict[Path, GridRun] = {}

    def go(self, budget: Budget) -> None:
        """Trains and measures what is missing, one after the other."""
        done = [run for run in self.runs if run.is_trained and is_measured(run, self.sets)]
        self._finished = {run.folder: read(run, self.sets) for run in done}
        missing = [run for run in self.runs if run.folder not in self._finished]
        for number, run in enumerate(missing, 1):
            if not budget.allows(self._seconds(run)):
                self.left = missing[number - 1 :]
                break
            logger.info(
                "Run %d of %d: %s, seed %d. Its messages: %s",
                len(self.runs) - len(missing) + number, len(self.runs), run.combination.name, run.seed, run.log,
            )  # fmt: skip
            self._go_on(run)
            self._tell(run, missing[number:])

    def write(self) -> str:
        """Writes the tables of what is finished, and returns them."""
        runs = {run.folder.name: self._finished[run.folder] for run in self.runs if run.folder in self._finished}
        text = write_results(self.output, runs, self.baseline, len(self.runs))
        if not self.left:
            return text
        names = ", ".join(f"{run.combination.name}, seed {run.seed}" for run in self.left[:3])
        more = f" and {len(self.left) - 3} more" if self.left[3:] else ""
        return (
            f"{text}\n\nThe budget is spent. {len(self.left)} runs are left: {names}{more}. The same command goes on."
        )

    def failures(self) -> str:
        """Which runs failed, with the ends of their logs."""
        logs = [f"{run.folder} failed; {run.log} ends with:\n{tail(run)}" for run in self.failed]
        count = f"{len(self.failed)} of {len(self.runs)} runs failed. The same command tries them again."
        return "\n\n".join([*logs, count])

    def _go_on(self, run: Planned) -> None:
        train(run, self.passed_on)
        if run.is_trained and measure(run, self.sets):
            self._finished[run.folder] = read(run, self.sets)
            try:
                self.write()
            except OSError as error:  # The disk may have room again when the last run ends.
                logger.warning("The tables are not written: %s", error)
        else:
            logger.error("%s failed: %s ends with:\n%s", run.folder, run.log, tail(run))
            self.failed.append(run)

    def _tell(self, run: Planned, missing: Sequence[Planned]) -> None:
        """Tells what a run took, and about how long the others will."""
        one = self._finished.get(run.folder)
        seconds = [self._seconds(other) for other in missing]
        if one is None or one.cost.seconds is None or not missing or None in seconds:
            return
        left = duration(sum(each or 0.0 for each in seconds))
        logger.info("It took %s; %d runs are left, about %s", duration(one.cost.seconds), len(missing), left)

    def _seconds(self, run: Planned) -> float | None:
        """About how long a run will take, by the finished ones: of its combination, or else of all."""
        if run.is_trained:
            return 0.0
        known = {other: seconds for other in self.runs if (seconds := self._took(other)) is not None}
        own = [seconds for other, seconds in known.items() if other.combination is run.combination]
        return mean(own or known.values()) if known else None

    def _took(self, run: Planned) -> float | None:
        return seconds_again(run) if run.folder in self._finished else None
