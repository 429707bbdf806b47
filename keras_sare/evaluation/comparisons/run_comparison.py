"""Training runs of several kinds and seeds side by side: what each kind gains over the model before training."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

from keras_sare.evaluation.model_names import common_name
from keras_sare.evaluation.report import RecallReport, check_comparable

NS = (1, 5, 10)
UNKNOWN = "–"
Reports = Mapping[str, RecallReport]


@dataclass(frozen=True)
class FinishedRun:
    """What a training run measured.

    Attributes:
        kind: what tells it from others, for example its loss.
        seed: of the run.
        recall: test report by model; the first is the model before training.
        other_traversals: the same excluding each query's traversal; empty where the dataset names no traversals.
        epochs: that were trained.
        best_epoch: the one whose weights were evaluated.
        seconds: wall time; None where it is not known.
    """

    kind: str
    seed: int
    recall: Reports
    other_traversals: Reports
    epochs: int
    best_epoch: int
    seconds: float | None = None

    def protocols(self) -> list[Reports]:
        """`recall`, and `other_traversals` where it was measured."""
        return [self.recall, self.other_traversals] if self.other_traversals else [self.recall]


def check_runs(runs: Sequence[FinishedRun]) -> None:
    """Checks that runs were evaluated in the same way, on models of the same names.

    Raises:
        ValueError: there is no run, or two differ in dataset, protocol or the names of the models.
    """
    if not runs:
        raise ValueError("`runs` must hold at least one finished run. Received: none")
    models = {f"{run.kind}, seed {run.seed}": [list(reports) for reports in run.protocols()] for run in runs}
    if any(names != next(iter(models.values())) for names in models.values()):
        raise ValueError(f"`runs` must have evaluated models of the same names, in the same way. Received: {models}")
    for i in range(len(runs[0].protocols())):
        check_comparable({f"{r.kind}, seed {r.seed}, {m}": one for r in runs for m, one in r.protocols()[i].items()})


def with_common_names(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Names models alike over all runs, where some have kept a trained epoch and others the model before training."""
    names = {tuple(run.recall) for run in runs}
    if len(names) < 2:
        return list(runs)

    def renamed(reports: Reports) -> Reports:
        return {common_name(name): report for name, report in reports.items()}

    return [replace(run, recall=renamed(run.recall), other_traversals=renamed(run.other_traversals)) for run in runs]


def by_kind(runs: Iterable[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Runs by kind, in the order in which the kinds come."""
    kinds: dict[str, list[FinishedRun]] = {}
    for run in runs:
        kinds.setdefault(run.kind, []).append(run)
    return kinds


def one_per_seed(runs: Iterable[FinishedRun]) -> list[FinishedRun]:
    """One run of each seed: runs of one seed share the model before training."""
    return list({run.seed: run for run in runs}.values())


def format_comparison(runs: Sequence[FinishedRun]) -> str:
    """Lays runs out in Markdown: mean and standard deviation over the seeds of each kind, then each run's gain.

    Args:
        runs: of any kinds and seeds.

    Returns:
        Text without a trailing line break.

    Raises:
        ValueError: there is no run, or they were not evaluated in the same way.
    """
    alike = with_common_names(runs)
    check_runs(alike)
    summaries = [_summary(alike, protocol) for protocol in range(len(runs[0].protocols()))]
    headings, formats, rows = _each_run(runs)
    baseline = next(iter(runs[0].recall))
    trained = [row for row in rows if row[headings.index("model")] != baseline]
    shown = [[UNKNOWN if x is None else format(x, f) for x, f in zip(row, formats, strict=True)] for row in trained]
    return "\n\n".join([*summaries, f"Each run, with its gain over its own start:\n\n{_markdown([headings, *shown])}"])


def comparison_csv(runs: Sequence[FinishedRun]) -> str:
    """Writes the figures of each run and model as CSV, unrounded.

    Raises:
        ValueError: there is no run, or they were not evaluated in the same way.
    """
    check_runs(with_common_names(runs))
    headings, _, rows = _each_run(runs)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([headings, *rows])
    return text.getvalue()


def _summary(runs: Sequence[FinishedRun], protocol: int) -> str:
    """A table of means under one of `FinishedRun.protocols`."""
    first = next(iter(runs[0].protocols()[protocol].values()))
    baseline, *trained = runs[0].recall
    ns = _ns(first)

    def row(kind: str, model: str, chosen: Sequence[FinishedRun]) -> list[str]:
        reports = [run.protocols()[protocol] for run in chosen]
        recalls = [_spread([each[model].at(n) for each in reports], ".3f") for n in ns]
        gain = _spread([_gain(each, model) for each in reports], "+.1f") if kind else ""
        return [kind, model, str(len(chosen)), *recalls, gain]

    rows = [["", "model", "seeds", *(f"recall@{n}" for n in ns), "gain of recall@1, points"]]
    rows.append(row("", baseline, one_per_seed(runs)))
    rows += [row(kind, model, chosen) for kind, chosen in by_kind(runs).items() for model in trained]
    title = f"{first.dataset}, {first.protocol}; {first.queries} queries, {first.database} images"
    return f"{title}. Mean ± standard deviation over the seeds:\n\n{_markdown(rows)}"


def _each_run(runs: Sequence[FinishedRun]) -> tuple[list[str], list[str], list[list[Any]]]:
    """Headings, format of each column, and a row for each run and model."""
    ns = _ns(next(iter(runs[0].recall.values())))
    columns = [("kind", ""), ("seed", ""), ("model", "")]
    for prefix in ("", "other traversals ")[: len(runs[0].protocols())]:
        columns += [*((f"{prefix}recall@{n}", ".3f") for n in ns), (f"{prefix}gain", "+.1f")]
    columns += [("epochs", ""), ("best epoch", ""), ("minutes", ".1f")]
    rows: list[list[Any]] = []
    for run in runs:
        minutes = None if run.seconds is None else run.seconds / 60
        for model in run.recall:
            figures = [x for each in run.protocols() for x in (*map(each[model].at, ns), _gain(each, model))]
            rows.append([run.kind, run.seed, model, *figures, run.epochs, run.best_epoch, minutes])
    headings, formats = map(list, zip(*columns, strict=True))
    return headings, formats, rows


def _ns(report: RecallReport) -> list[int]:
    return [n for n in NS if n in report.ns]


def _gain(reports: Reports, model: str) -> float:
    """Points of recall@1 over the first model of the reports."""
    return 100 * (reports[model].at(1) - next(iter(reports.values())).at(1))


def _spread(values: Sequence[float], form: str) -> str:
    spread = f" ± {stdev(values):{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{mean(values):{form}}{spread}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    rule = ["---" if cell in ("", "kind", "model") else "---:" for cell in rows[0]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:]))
