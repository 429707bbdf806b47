"""The runs of a grid: a process for each, where it lies, what it took and what it measured."""

import json
import logging
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from keras_sare.evaluation.comparisons.grid_runs import GridRun, RunCost
from keras_sare.training.checkpoints.run_changes import last_state
from keras_sare.utils.files import atomic_path, is_locked
from trainers.config import PittsConfig
from trainers.stages.ablation.grid import Combination
from trainers.stages.ablation.measure_process import arguments
from trainers.stages.ablation.measured_sets import MeasuredSet
from trainers.stages.ablation.measuring import read_measured

logger = logging.getLogger("keras_sare.ablation")

TAIL = 15
"""Lines of a failed run's log that are shown."""

_COMMON = "common.json"
_RUNS = "runs.json"
_LONGEST = 120
_SECONDS_BETWEEN_LOOKS = 5.0


@dataclass(frozen=True)
class Planned:
    """A run that is wanted.

    Attributes:
        combination: of its settings.
        seed: of it.
        folder: of it.
    """

    combination: Combination
    seed: int
    folder: Path

    @property
    def log(self) -> Path:
        """What its process writes."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def is_trained(self) -> bool:
        """Whether the training has come to its end."""
        # The gallery is the last file that a run writes.
        return all((self.folder / name).is_file() for name in ("model.keras", "recall.json", "matches.png"))


def plan(output: Path, combinations: Sequence[Combination], seeds: Sequence[int]) -> list[Planned]:
    """Gives each combination and seed its folder: an earlier call's where that trained the same, else a new one.

    Seed by seed, so that all combinations can be compared early. Nothing is written.
    """
    known = _read_json(output / _RUNS)
    runs: list[Planned] = []
    for seed in dict.fromkeys(seeds):
        for one in combinations:
            earlier = (name for name, of in known.items() if _is_same(of, one, seed))
            name = next(earlier, None) or _new_name(one, seed, known)
            known[name] = {"settings": one.settings, "seed": seed}
            runs.append(Planned(one, seed, output / name))
    return runs


def check_common(output: Path, common: Mapping[str, Any], grid: Iterable[str]) -> None:
    """Checks that what all combinations share is as in earlier calls. Writes nothing.

    Args:
        output: folder of the grid.
        common: settings that all combinations share, the dataset's folder too.
        grid: names of the settings that are in the grid: these say themselves what a run is.

    Raises:
        ValueError: it is not.
    """
    before = _read_json(output / _COMMON) or common
    names = {**before, **common}.keys() - set(grid)
    differing = [name for name in sorted(names) if before.get(name) != common.get(name)]
    if differing:
        told = ", ".join(f"{name}: {before.get(name)!r} before, {common.get(name)!r} now" for name in differing)
        raise ValueError(
            "`output` must be a new folder, or one whose runs were made with the same --root and flags after `--`; put "
            f"what is to vary into --grid. Received: {told}. Where it cannot matter, remove {str(output / _COMMON)!r}."
        )


def record(output: Path, runs: Sequence[Planned], common: Mapping[str, Any]) -> None:
    """Writes down what all runs share and which folder holds which settings, for later calls with other grids."""
    of_runs = {run.folder.name: {"settings": run.combination.settings, "seed": run.seed} for run in runs}
    files: dict[str, Mapping[str, Any]] = {_COMMON: common, _RUNS: of_runs}
    for name, contents in files.items():
        with atomic_path(output / name) as path:
            path.write_text(json.dumps({**_read_json(output / name), **contents}, indent=1) + "\n")


def train(run: Planned, passed_on: Sequence[str]) -> None:
    """Trains in another process, to its end, and adds up what the run took."""
    _wait_for(run.folder)
    if run.is_trained:
        return
    command = [sys.executable, "-m", "trainers.pitts", f"--store={store_of(run)}", *passed_on, *run.combination.flags]
    _spend(run, [*command, f"--seed={run.seed}", f"--output={run.folder}", "--resume"])


def is_measured(run: Planned, sets: Sequence[MeasuredSet]) -> bool:
    """Whether the models of a trained run were measured on all sets."""
    return not _unmeasured(run, sets)


def measure(run: Planned, sets: Sequence[MeasuredSet]) -> bool:
    """Measures the models of a trained run where they were not yet, and says whether they now are on all sets."""
    if missing := _unmeasured(run, sets):
        with open(run.log, "a") as log:
            command = arguments(run.folder.parent, run.folder, missing, store_of(run))
            subprocess.run(command, stdout=log, stderr=log, check=False)
    return is_measured(run, missing)


def read(run: Planned, sets: Sequence[MeasuredSet]) -> GridRun:
    """Reads what a finished run took and measured."""
    state = last_state(run.folder / "checkpoints")
    found = [read_measured(run.folder.parent, run.folder, one) or {} for one in sets]
    return GridRun(
        combination=run.combination.name,
        seed=run.seed,
        epochs=state["epoch"],
        best_epoch=state["best_epoch"],
        cost=cost_of(run),
        measured={table: ranks for one in found for table, ranks in one.items()},
    )


def tail(run: Planned) -> str:
    """The last lines of a run's log."""
    lines = run.log.read_text(errors="replace").splitlines() if run.log.is_file() else []
    return "\n".join(f"    {line}" for line in lines[-TAIL:] or ["(nothing)"])


def store_of(run: Planned) -> Path:
    """Folder of the frozen layers' output, which all runs share."""
    return run.folder.with_name("store")


def cost_of(run: Planned) -> RunCost:
    """What a run has taken so far; not known where there is no record that can be read."""
    try:
        return RunCost(**json.loads(_cost_path(run).read_text()))
    except (OSError, ValueError, TypeError):
        return RunCost()


def seconds_again(run: Planned) -> float | None:
    """What a finished run took, but for the frozen layers' output, which others find; None if not known."""
    cost = cost_of(run)
    seconds = cost.seconds if cost.is_whole else None
    history = last_state(run.folder / "checkpoints").get("history", [])
    return (
        None if seconds is None else max(0.0, seconds - sum(row.get("seconds_frozen_layers", 0.0) for row in history))
    )


def _unmeasured(run: Planned, sets: Sequence[MeasuredSet]) -> list[MeasuredSet]:
    return [one for one in sets if read_measured(run.folder.parent, run.folder, one) is None]


def _spend(run: Planned, command: Sequence[str]) -> None:
    """Runs a command of a run, and adds what it took to the run's cost."""
    before = cost_of(run) if _cost_path(run).exists() else RunCost(0.0, 0.0)
    # Until it ends some of it is not counted, should this program be killed.
    _write_cost(run, replace(before, is_whole=False))
    started = time.monotonic()
    spent = _processor_seconds()
    try:
        with open(run.log, "a") as log:
            subprocess.run(command, stdout=log, stderr=log, check=False)
    finally:
        seconds = (before.seconds or 0.0) + time.monotonic() - started
        processor = (before.processor_seconds or 0.0) + _processor_seconds() - spent
        _write_cost(run, RunCost(round(seconds, 1), round(processor, 1), before.is_whole))


def _write_cost(run: Planned, cost: RunCost) -> None:
    try:
        with atomic_path(_cost_path(run)) as path:
            path.write_text(json.dumps(asdict(cost)) + "\n")
    except OSError as error:
        # One figure of a table is not worth the runs that are still to come.
        logger.warning("What %s took is not kept: %s", run.folder, error)


def _cost_path(run: Planned) -> Path:
    return run.folder.with_name(f"{run.folder.name}.cost.json")


def _processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _wait_for(folder: Path) -> None:
    """Waits until no other process runs in the folder: a killed call's training goes on to its end."""
    if is_locked(folder / "run.lock"):
        logger.info("The training of an earlier call still runs in %s: waiting for its end", folder)
    while is_locked(folder / "run.lock"):
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _read_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def _is_same(known: Mapping[str, Any], one: Combination, seed: int) -> bool:
    """Whether a known run has these settings; those that an earlier version did not have are as they are by default."""
    defaults = PittsConfig().recorded()
    now = json.loads(json.dumps(one.settings))
    before = known["settings"]
    added = now.keys() - before.keys()
    is_default = all(now[name] in (None, defaults[name]) for name in added)
    return known["seed"] == seed and is_default and all(now[name] == before[name] for name in now.keys() - added)


def _new_name(one: Combination, seed: int, taken: Mapping[str, Any]) -> str:
    # No comma: programs take lists of folders.
    words = "+".join([*one.name.split(", "), f"seed={seed}"])
    name = re.sub(r"[^\w.=+-]", "-", words, flags=re.ASCII)
    if len(name) > _LONGEST or name in taken:
        name = (
            f"{name[:_LONGEST]}-{blake2b(json.dumps(one.settings).encode() + b'%d' % seed, digest_size=4).hexdigest()}"
        )
    return name
