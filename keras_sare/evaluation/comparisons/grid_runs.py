"""Training runs of a grid of settings and seeds: what each answered, and how combinations of settings compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from keras_sare.evaluation.comparisons.seed_statistics import Estimate, estimate_difference, estimate_mean, holm
from keras_sare.evaluation.verdict import SIGNIFICANCE

NS = (1, 5, 10)
"""The N of recall@N that are shown, where the database allows them."""

OFF_THE_SHELF = "off the shelf"
MODELS = ("trained", "whitened")
"""What a run leaves: the kept epoch's model, and the same with whitening where it was fitted."""

HOME = ("val", "test")
"""Splits of the dataset that was trained on; other sets are places that no run has seen."""


@dataclass(frozen=True, eq=False)
class MeasuredRanks:
    """What a run's models answered to the queries of a set under one rule.

    Attributes:
        set_name: "val", "test", or what the user called another set.
        dataset: name of the dataset and split.
        protocol: what counts as found.
        database: number of database images.
        ns: the N of recall@N that it allows.
        ranks: by model, `OFF_THE_SHELF` and some of `MODELS`: rank of the first positive of each query from 0, int64
            [Q], the largest N or more where there is none among the matches.
    """

    set_name: str
    dataset: str
    protocol: str
    database: int
    ns: tuple[int, ...]
    ranks: Mapping[str, np.ndarray]

    @property
    def is_home(self) -> bool:
        """Whether the set is of the dataset that was trained on."""
        return self.set_name in HOME

    @property
    def measures(self) -> tuple[object, ...]:
        """What must be the same where runs are compared."""
        return self.dataset, self.protocol, len(self.ranks[OFF_THE_SHELF]), self.database, self.ns


@dataclass(frozen=True)
class RunCost:
    """What a run took.

    Attributes:
        seconds: wall time; None where it is not known.
        processor_seconds: of all processors.
        is_whole: whether all of it is counted: what a program spent that was killed is not.
    """

    seconds: float | None = None
    processor_seconds: float | None = None
    is_whole: bool = True


@dataclass(frozen=True, eq=False)
class GridRun:
    """A finished run of a combination of settings with a seed.

    Attributes:
        combination: its settings in words, "loss=triplet, mining=full".
        seed: of the run.
        epochs: that were trained.
        best_epoch: the one that was kept; 0 is the model before training.
        cost: what it took.
        measured: by table, such as "val" and "val, excluding the query's traversal".
    """

    combination: str
    seed: int
    epochs: int
    best_epoch: int
    cost: RunCost = RunCost()
    measured: Mapping[str, MeasuredRanks] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparedCombination:
    """A combination in a table: means over its seeds and the queries, differences in shares of the queries.

    Attributes:
        combination: its settings in words.
        seeds: of its runs.
        off_the_shelf: recall@1 of the model before training.
        recalls: by N.
        gain: of recall@1 over off the shelf.
        gain_p: its p-value, corrected for the number of combinations.
        over_baseline: how much higher recall@1 is than that of the baseline, with the seeds that both have; None for
            the baseline itself, and where they share none.
        over_baseline_p: its p-value, corrected for the number of combinations beside the baseline.
    """

    combination: str
    seeds: tuple[int, ...]
    off_the_shelf: float
    recalls: Mapping[int, Estimate]
    gain: Estimate
    gain_p: float
    over_baseline: Estimate | None
    over_baseline_p: float | None

    @property
    def is_fault(self) -> bool:
        """Whether training has made the model worse, beyond chance by the interval of this combination alone."""
        return self.gain.high < 0


def by_combination(runs: Sequence[GridRun]) -> dict[str, list[GridRun]]:
    """Runs by combination, in the order in which the combinations come."""
    found: dict[str, list[GridRun]] = {}
    for run in runs:
        found.setdefault(run.combination, []).append(run)
    return found


def compare_combinations(runs: Sequence[GridRun], table: str, model: str, baseline: str) -> list[ComparedCombination]:
    """Compares combinations of settings by what one of their models answered.

    Args:
        runs: of any combinations and seeds; those without this table or model are left out.
        table: key of `GridRun.measured`.
        model: one of `MODELS`.
        baseline: the combination that the others are tested against; it may be missing.

    Returns:
        A row for each combination, in the order in which they come.

    Raises:
        ValueError: runs were measured on different queries, or by different rules.
    """
    chosen = [run for run in runs if table in run.measured and model in run.measured[table].ranks]
    _check_alike(chosen, table)
    measured = {name: {one.seed: one.measured[table] for one in of} for name, of in by_combination(chosen).items()}
    gains = {name: _gain(list(of.values()), model) for name, of in measured.items()}
    others = [name for name in measured if baseline in measured and measured[name].keys() & measured[baseline].keys()]
    over = {name: _over(measured[name], measured[baseline], model) for name in others if name != baseline}
    gain_p = dict(zip(gains, holm([one.p_value for one in gains.values()]), strict=True))
    over_p = dict(zip(over, holm([one.p_value for one in over.values()]), strict=True))
    return [
        ComparedCombination(
            combination=name,
            seeds=tuple(of),
            off_the_shelf=float(_hits(list(of.values()), OFF_THE_SHELF).mean()),
            recalls={n: _recall(list(of.values()), model, n) for n in shown_ns(list(of.values()))},
            gain=gains[name],
            gain_p=gain_p[name],
            over_baseline=over.get(name),
            over_baseline_p=over_p.get(name),
        )
        for name, of in measured.items()
    ]


def best_combination(rows: Sequence[ComparedCombination]) -> ComparedCombination:
    """The row with the highest mean recall@1, of equal ones that with the higher recall@5 and @10."""
    return max(rows, key=lambda row: [one.value for one in row.recalls.values()])


def shown_ns(measured: Sequence[MeasuredRanks]) -> list[int]:
    """The N of recall@N that are shown of some sets of one size."""
    return [n for n in NS if n in measured[0].ns]


def is_beyond_chance(p_value: float | None) -> bool:
    """Whether a corrected p-value says so."""
    return p_value is not None and p_value < SIGNIFICANCE


def _hits(measured: Sequence[MeasuredRanks], model: str, n: int = 1) -> np.ndarray:
    """Whether each query is answered rightly among the first N, bool [S, Q]."""
    return np.stack([one.ranks[model] < n for one in measured])


def _recall(measured: Sequence[MeasuredRanks], model: str, n: int) -> Estimate:
    one = estimate_mean(_hits(measured, model, n))
    return replace(one, low=max(0.0, one.low), high=min(1.0, one.high))  # A share is between 0 and 1.


def _gain(measured: Sequence[MeasuredRanks], model: str) -> Estimate:
    return estimate_difference(_hits(measured, model), _hits(measured, OFF_THE_SHELF))


def _over(mine: Mapping[int, MeasuredRanks], baseline: Mapping[int, MeasuredRanks], model: str) -> Estimate:
    seeds = [seed for seed in mine if seed in baseline]
    first, second = ([of[seed] for seed in seeds] for of in (mine, baseline))
    return estimate_difference(_hits(first, model), _hits(second, model))


def _check_alike(runs: Sequence[GridRun], table: str) -> None:
    known: dict[tuple[object, ...], str] = {}
    for run in runs:
        known.setdefault(run.measured[table].measures, f"{run.combination}, seed {run.seed}")
    if len(known) > 1:
        (first, one), (second, other), *_ = known.items()
        raise ValueError(
            f"Runs must be measured on the same queries and database by the same rules to stand in one table, {table}: "
            f"measure them again. Received: {one}: {first}; {other}: {second}"
        )
