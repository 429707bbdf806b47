"""Runs of a folder side by side, by their validation recall."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_sare.evaluation import RecallReport, better, format_table
from keras_sare.evaluation.comparisons.stored_verdict import verdict_of
from keras_sare.evaluation.html.contents import Contents, read_contents, side_by_side
from keras_sare.evaluation.verdict import format_verdict
from keras_sare.training.checkpoints.run_folder import RunFolder

_PLACES = ("output",)
"""Settings that differ between any two runs and say nothing."""


@dataclasses.dataclass(frozen=True)
class ListedRun:
    """A run and its best epoch.

    Attributes:
        path: its folder.
        contents: of it.
        epoch: the best one.
        validation: recall there.
    """

    path: Path
    contents: Contents
    epoch: int
    validation: RecallReport


def read_runs(folder: Path) -> list[ListedRun]:
    """Reads the runs in a folder, or the one that it is, those that have been validated.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file of one is damaged.
    """
    paths = [path.parent for path in sorted([*folder.glob("run.json"), *folder.glob("*/run.json")])]
    runs = [_read(path) for path in paths if (path / "log.csv").is_file()]
    found = [run for run in runs if run is not None]
    if not found:
        raise FileNotFoundError(
            f"There is no run with validation recall in {str(folder)!r}: name the folder that holds runs' folders."
        )
    return found


def best_run(runs: Sequence[ListedRun]) -> ListedRun:
    """The run with the best validation recall, by the rule that chooses the best epoch; of equal ones the first.

    Raises:
        ValueError: the runs were validated at different N.
    """
    best = runs[0]
    for run in runs[1:]:
        if better(run.validation, best.validation):
            best = run
    return best


def listed(runs: Sequence[ListedRun]) -> str:
    """A table of the runs, Markdown, best first named below."""
    names = differing(runs)
    ns = sorted({n for run in runs for n in run.validation.ns})
    lines = [["run", "best epoch", *(f"val recall@{n}" for n in ns), *names]]
    lines.append(["---"] * len(lines[0]))
    for run in runs:
        recalls = [f"{run.validation.at(n):.3f}" if n in run.validation.ns else "" for n in ns]
        settings = [str(run.contents.settings.get(name, "")) for name in names]
        lines.append([run.path.name, str(run.epoch), *recalls, *settings])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def compared(runs: Sequence[ListedRun]) -> str:
    """Settings that differ, the test recall of all models, and how sure their differences are, Markdown.

    Raises:
        ValueError: the runs were evaluated on different places.
    """
    contents = side_by_side([run.contents for run in runs])
    reports = {name: report for one in contents for name, report in one.reports.items()}
    verdict = verdict_of([answer for one in contents for answer in one.answers])
    parts = [listed(runs), format_table(reports) if reports else "", format_verdict(verdict) if verdict else ""]
    return "\n\n".join(part for part in parts if part)


def differing(runs: Sequence[ListedRun]) -> list[str]:
    """Names of the settings in which the runs differ."""
    names = dict.fromkeys(name for run in runs for name in run.contents.settings if name not in _PLACES)
    return [name for name in names if len({repr(run.contents.settings.get(name)) for run in runs}) > 1]


def _read(path: Path) -> ListedRun | None:
    contents = read_contents(path, RunFolder(path).settings)
    epochs = [(int(row["epoch"]), report) for row in contents.history if (report := _validation(row)) is not None]
    if not epochs:
        return None
    best = epochs[0]
    for one in epochs[1:]:
        if better(one[1], best[1]):
            best = one
    return ListedRun(path, contents, *best)


def _validation(row: Any) -> RecallReport | None:
    recalls = {int(name.partition("@")[2]): value for name, value in row.items() if name.startswith("recall@")}
    ns = tuple(sorted(recalls))
    return RecallReport("validation", "", 0, 0, 0, ns, tuple(recalls[n] for n in ns)) if ns else None
