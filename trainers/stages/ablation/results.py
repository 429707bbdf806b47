"""The files of a grid's results."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from keras_sare.evaluation.comparisons.grid_runs import GridRun, by_combination
from keras_sare.evaluation.comparisons.grid_tables import format_grid, grid_csv, runs_csv
from keras_sare.evaluation.plots.forest_plot import draw_forest
from keras_sare.utils.files import atomic_path

logger = logging.getLogger("keras_sare.ablation")

_TEST = "test_shown.json"


def write_results(output: Path, runs: Mapping[str, GridRun], baseline: str, planned: int) -> str:
    """Writes `ablation.{md,csv,png}` and `runs.csv`, and returns the tables; nothing where no run is finished.

    The test split is left out until all runs are finished, so that it cannot choose among them.

    Args:
        output: folder of the grid.
        runs: that are finished, by name of their folder.
        baseline: the combination that the others are tested against.
        planned: number of runs that are wanted.
    """
    if not runs:
        return ""
    shown = list(runs.values()) if len(runs) == planned else list(map(_without_test, runs.values()))
    return _write(output, shown, list(runs), baseline, planned)


def _write(output: Path, runs: Sequence[GridRun], names: Sequence[str], baseline: str, planned: int) -> str:
    head = f"# {len(runs)} of {planned} runs; {len(by_combination(runs))} combinations; baseline: {baseline}"
    is_shown = any(one.set_name == "test" for run in runs for one in run.measured.values())
    notes = [_about_test(output, names)] if is_shown or (output / _TEST).is_file() else []
    text = "\n\n".join([head, *notes, format_grid(runs, baseline)])
    files = {"ablation.md": text + "\n", "ablation.csv": grid_csv(runs, baseline), "runs.csv": runs_csv(runs)}
    for name, contents in files.items():
        with atomic_path(output / name) as path:
            path.write_text(contents)
    draw_forest(output / "ablation.png", runs, baseline)
    return text


def _without_test(run: GridRun) -> GridRun:
    return replace(run, measured={table: one for table, one in run.measured.items() if one.set_name != "test"})


def _about_test(output: Path, now: Sequence[str]) -> str:
    """How many runs had been looked at when test figures were shown first, and how many have come since."""
    path = output / _TEST
    if not path.is_file():
        with atomic_path(path) as file:
            file.write_text(json.dumps({"runs": list(now)}, indent=1) + "\n")
    first = json.loads(path.read_text())["runs"]
    text = f"Test figures were first shown when {len(first)} runs had been looked at on validation."
    if since := len(set(now) - set(first)):
        text += f" **{since} runs were made since: whoever knew the test figures may have chosen them by these.**"
    return text
