"""Runs of a folder side by side, by their validation."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_sare.evaluation import RecallReport, better, format_table
from keras_sare.evaluation.comparisons.stored_verdict import verdict_of
from keras_sare.evaluation.html.contents import Contents, read_contents, side_by_side
from keras_sare.evaluation.retrieval_report import Reports, format_retrieval_table
from keras_sare.evaluation.verdict import format_verdict
from keras_sare.training.checkpoints.run_folder import RunFolder

_PLACES = ("output",)
"""Settings that differ between any two runs and say nothing."""

Figures = Mapping[str, float]
"""Of an epoch's validation: recall@N of places, or mAP and mP@k of retrieval."""


@dataclasses.dataclass(frozen=True)
class ListedRun:
    """A run and its best epoch.

    Attributes:
        path: its folder.
        contents: of it.
        epoch: the best one.
        validation: what was measured there.
    """

    path: Path
    contents: Contents
    epoch: int
    validation: Figures

    @property
    def is_of_retrieval(self) -> bool:
        """Whether photos were retrieved, not places recognised: the two cannot be compared."""
        return "mAP" in self.validation


def read_runs(folder: Path) -> list[ListedRun]:
    """Reads the runs in a folder, or the one that it is, those that have been validated.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file of one is damaged.
    """
    found = _validated(folder)
    if not found:
        raise FileNotFoundError(
            f"There is no run that has been validated in {str(folder)!r}: name the folder that holds runs' folders."
        )
    return found


def list_all(folder: Path) -> str:
    """The runs of a folder and its reconstructions as tables, Markdown.

    Raises:
        FileNotFoundError: there is nothing to list.
        ValueError: a file is damaged.
    """
    made = reconstructions(folder)
    runs = _validated(folder) if made else read_runs(folder)
    return "\n\n".join(part for part in (listed(runs), made) if part)


def best_run(runs: Sequence[ListedRun]) -> ListedRun:
    """The run with the best validation, by the rule that chooses the best epoch; of equal ones the first.

    Raises:
        ValueError: the runs were validated at different N, or some are of places and some of retrieval.
    """
    kinds = [[run.path.name for run in each] for each in _by_kind(runs)]
    if len(kinds) > 1:
        raise ValueError(
            "Runs must be all of places or all of retrieval to have a best one: move the others elsewhere. "
            f"Received: of places {', '.join(kinds[0])}; of retrieval {', '.join(kinds[1])}"
        )
    best = runs[0]
    for run in runs[1:]:
        if _is_better(run.validation, best.validation):
            best = run
    return best


def listed(runs: Sequence[ListedRun]) -> str:
    """A table of the runs of places and one of those of retrieval, Markdown."""
    return "\n\n".join(map(_table, _by_kind(runs)))


def compared(runs: Sequence[ListedRun]) -> str:
    """Settings that differ, what all models reach on test sets, and how sure their differences are, Markdown.

    Raises:
        ValueError: the runs were evaluated on different places.
    """
    contents = side_by_side([run.contents for run in runs])
    reports = {name: report for one in contents for name, report in one.reports.items()}
    verdict = verdict_of([answer for one in contents for answer in one.answers])
    parts = [listed(runs), format_table(reports) if reports else "", format_verdict(verdict) if verdict else ""]
    parts += _retrieval_tables(contents)
    return "\n\n".join(part for part in parts if part)


def reconstructions(folder: Path) -> str:
    """A table of the reconstructions of `trainers.sfm` in a folder, Markdown; "" where there are none.

    Raises:
        ValueError: a `models.json` is damaged.
    """
    paths = sorted([*folder.glob("models.json"), *folder.glob("*/models.json")])
    rows = [[path.parent.name, *_summary(path)] for path in paths if (path.parent / "sfm.npz").is_file()]
    head = ["reconstruction", "photos", "in models", "models", "clusters"]
    return _markdown([head, ["---"] * len(head), *rows]) if rows else ""


def _retrieval_tables(contents: Iterable[Contents]) -> list[str]:
    by_test_set: dict[str, dict[str, Any]] = {}
    for one in contents:
        for test_set, reports in one.retrieval.items():
            by_test_set.setdefault(test_set, {}).update(reports)
    tables: Iterable[Reports] = by_test_set.values()
    return [format_retrieval_table(reports) for reports in tables]


def _by_kind(runs: Sequence[ListedRun]) -> list[list[ListedRun]]:
    """The runs of places, and those of retrieval; kinds of which there are none are left out."""
    kinds = [[run for run in runs if run.is_of_retrieval == kind] for kind in (False, True)]
    return [each for each in kinds if each]


def _table(runs: Sequence[ListedRun]) -> str:
    names = differing(runs)
    figures = list(dict.fromkeys(name for run in runs for name in run.validation))
    lines = [["run", "best epoch", *(f"val {name}" for name in figures), *names]]
    lines.append(["---"] * len(lines[0]))
    for run in runs:
        values = [f"{run.validation[name]:.3f}" if name in run.validation else "" for name in figures]
        settings = [str(run.contents.settings.get(name, "")) for name in names]
        lines.append([run.path.name, str(run.epoch), *values, *settings])
    return _markdown(lines)


def _markdown(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def differing(runs: Sequence[ListedRun]) -> list[str]:
    """Names of the settings in which the runs differ."""
    names = dict.fromkeys(name for run in runs for name in run.contents.settings if name not in _PLACES)
    return [name for name in names if len({repr(run.contents.settings.get(name)) for run in runs}) > 1]


def _validated(folder: Path) -> list[ListedRun]:
    paths = [path.parent for path in sorted([*folder.glob("run.json"), *folder.glob("*/run.json")])]
    runs = [_read(path) for path in paths if (path / "log.csv").is_file()]
    return [run for run in runs if run is not None]


def _read(path: Path) -> ListedRun | None:
    contents = read_contents(path, RunFolder(path).settings)
    epochs = [(int(row["epoch"]), figures) for row in contents.history if (figures := _validation(row))]
    if not epochs:
        return None
    best = epochs[0]
    for one in epochs[1:]:
        if _is_better(one[1], best[1]):
            best = one
    return ListedRun(path, contents, *best)


def _validation(row: Figures) -> Figures:
    """Recall by rising N; or mAP and mean precisions."""
    recalls = sorted((name for name in row if name.startswith("recall@")), key=_n)
    precisions = sorted((name for name in row if name.startswith("mP@")), key=_n)
    names = recalls or (["mAP", *precisions] if "mAP" in row else [])
    return {name: row[name] for name in names}


def _is_better(figures: Figures, best: Figures) -> bool:
    if "mAP" in figures:
        return figures["mAP"] > best["mAP"]
    return better(_report(figures), _report(best))


def _report(recalls: Figures) -> RecallReport:
    return RecallReport("validation", "", 0, 0, 0, tuple(map(_n, recalls)), tuple(recalls.values()))


def _n(name: str) -> int:
    return int(name.partition("@")[2])


def _summary(path: Path) -> list[str]:
    try:
        summary = json.loads(path.read_text())["summary"]
        return [str(summary[name]) for name in ("photos", "in_dataset", "models", "clusters")]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is damaged; write it again: {error}") from error
