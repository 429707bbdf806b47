"""Runs of a grid as text: tables with words on what is beyond chance, and CSV."""

import csv
import io
from collections.abc import Sequence
from statistics import mean
from typing import Any

from keras_sare.evaluation.comparisons.grid_runs import (
    MODELS,
    OFF_THE_SHELF,
    ComparedCombination,
    GridRun,
    MeasuredRanks,
    best_combination,
    by_combination,
    compare_combinations,
    is_beyond_chance,
)
from keras_sare.evaluation.comparisons.seed_statistics import Estimate

EXPLANATION = (
    "recall@N and differences are means over seeds and queries, in brackets their 95 % intervals for other seeds and "
    "queries (crossed random effects; of one seed for other queries alone). Differences are points of recall@1, paired "
    "by seed and query. p: of a difference as large by chance, after Holm's correction for the number of combinations; "
    "beyond chance: below 0.05. FAULT: worse than before training on places that were not trained on, where the "
    "interval is below 0. Queries are taken as independent, which photos taken one after the other are not: trust a "
    "narrow decision less. Minutes are of the whole run, of the first one with the store of the frozen layers' output."
)


def tables_of(runs: Sequence[GridRun]) -> list[str]:
    """Names of the tables that some run has, in the order in which they come."""
    return list(dict.fromkeys(table for run in runs for table in run.measured))


def format_grid(runs: Sequence[GridRun], baseline: str) -> str:
    """Lays the runs of a grid out in Markdown: validation first, then other sets, then what the runs cost.

    Args:
        runs: of any combinations and seeds, at least one.
        baseline: the combination that the others are tested against.

    Returns:
        Text without a trailing line break.

    Raises:
        ValueError: runs were measured on different queries, or by different rules.
    """
    parts = [_choice(runs, baseline)] if "val" in tables_of(runs) else []
    parts += [_section(runs, table, baseline) for table in tables_of(runs)]
    return "\n\n".join([*parts, _costs(runs), EXPLANATION])


def grid_csv(runs: Sequence[GridRun], baseline: str) -> str:
    """Writes the rows of all tables as CSV, unrounded: recalls, differences in points, bounds of their intervals.

    Columns: `table`, `dataset`, `protocol`, `model`, `combination`, `seeds`, `off the shelf` (recall@1); `recall@N`,
    `gain` and `over baseline`, each with ` low` and ` high`; ` p` of differences is corrected, see `EXPLANATION`.
    """
    rows: list[dict[str, Any]] = []
    for table in tables_of(runs):
        for model in MODELS:
            measured = _measured(runs, table)
            told = {"table": table, "dataset": measured.dataset, "protocol": measured.protocol, "model": model}
            rows += [told | _fields(one) for one in compare_combinations(runs, table, model, baseline)]
    return _csv(rows)


def runs_csv(runs: Sequence[GridRun]) -> str:
    """Writes a line for each run, table and model as CSV, unrounded.

    Columns: `combination`, `seed`, `epochs`, `best epoch`, `minutes`, `processor minutes` (empty where not known),
    `whole cost` (0 where a part is not counted), `table`, `model`, `recall@N`.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        minutes = {"minutes": _minutes(run.cost.seconds), "processor minutes": _minutes(run.cost.processor_seconds)}
        told = {"combination": run.combination, "seed": run.seed, "epochs": run.epochs, "best epoch": run.best_epoch}
        told |= minutes | {"whole cost": int(run.cost.is_whole)}
        for table, measured in run.measured.items():
            for model, ranks in measured.ranks.items():
                recalls = {f"recall@{n}": float((ranks < n).mean()) for n in measured.ns}
                rows.append(told | {"table": table, "model": model} | recalls)
    return _csv(rows)


def _choice(runs: Sequence[GridRun], baseline: str) -> str:
    """Which combination validation chooses, and among how many."""
    rows = [(model, one) for model in MODELS for one in compare_combinations(runs, "val", model, baseline)]
    best = best_combination([one for _, one in rows])
    model = next(model for model, one in rows if one is best)
    return (
        f"Best on validation: **{best.combination}**, {model}, recall@1 {best.recalls[1].value:.3f}. {len(runs)} runs "
        f"of {len(by_combination(runs))} combinations were looked at to say so: the best of many looks better on "
        "validation than it is."
    )


def _section(runs: Sequence[GridRun], table: str, baseline: str) -> str:
    measured = _measured(runs, table)
    queries = len(measured.ranks[OFF_THE_SHELF])
    title = f"## {table}\n\n{measured.dataset}, {measured.protocol}; {queries} queries, {measured.database} images."
    parts = [title if measured.is_home else f"{title} Not trained on."]
    for model in MODELS:
        if rows := compare_combinations(runs, table, model, baseline):
            parts.append(f"### {table}: {model}\n\n{_table(rows, baseline, measured.is_home)}")
    return "\n\n".join(parts)


def _table(rows: Sequence[ComparedCombination], baseline: str, is_home: bool) -> str:
    recalls = [f"recall@{n}" for n in rows[0].recalls]
    compared = [f"over {baseline}", "p", "in words"] if len(rows) > 1 else []
    lines = [["combination", "seeds", OFF_THE_SHELF, *recalls, f"over {OFF_THE_SHELF}", "p", "in words", *compared]]
    lines.append(["---" if cell in ("combination", "in words") else "---:" for cell in lines[0]])
    for row in rows:
        line = [row.combination, str(len(row.seeds)), f"{row.off_the_shelf:.3f}"]
        line += [f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})" for one in row.recalls.values()]
        line += [_points(row.gain), f"{row.gain_p:.2g}", _gain_in_words(row, is_home)]
        lines.append(line + (_against(row, baseline) if compared else []))
    return _markdown(lines)


def _against(row: ComparedCombination, baseline: str) -> list[str]:
    if row.combination == baseline:
        return ["", "", "baseline"]
    if row.over_baseline is None or row.over_baseline_p is None:
        return ["", "", "no seed in common"]
    words = "better" if row.over_baseline.value > 0 else "worse"
    beyond = f"{words} beyond chance" if is_beyond_chance(row.over_baseline_p) else "may be chance"
    return [_points(row.over_baseline), f"{row.over_baseline_p:.2g}", beyond]


def _gain_in_words(row: ComparedCombination, is_home: bool) -> str:
    if row.is_fault and not is_home:
        return "**FAULT: loses**"
    words = "gains" if row.gain.value > 0 else "loses"
    return f"{words} beyond chance" if is_beyond_chance(row.gain_p) else "may be chance"


def _costs(runs: Sequence[GridRun]) -> str:
    lines = [["combination", "runs", "epochs", "kept epoch", "minutes a run", "processor minutes a run"]]
    lines.append(["---", *("---:" for _ in lines[0][1:])])
    for name, of in by_combination(runs).items():
        epochs = [f"{mean(one.epochs for one in of):.1f}", f"{mean(one.best_epoch for one in of):.1f}"]
        wall = _cost(of, [one.cost.seconds for one in of])
        lines.append([name, str(len(of)), *epochs, wall, _cost(of, [one.cost.processor_seconds for one in of])])
    return f"## Cost\n\n{_markdown(lines)}"


def _cost(runs: Sequence[GridRun], seconds: Sequence[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    if not known:
        return "not known"
    whole = all(run.cost.is_whole for run in runs) and len(known) == len(seconds)
    return f"{'' if whole else 'at least '}{mean(known) / 60:.1f}"


def _measured(runs: Sequence[GridRun], table: str) -> MeasuredRanks:
    return next(run.measured[table] for run in runs if table in run.measured)


def _points(one: Estimate) -> str:
    return f"{100 * one.value:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def _fields(row: ComparedCombination) -> dict[str, Any]:
    fields: dict[str, Any] = {"combination": row.combination, "seeds": " ".join(map(str, row.seeds))}
    fields[OFF_THE_SHELF] = row.off_the_shelf
    for n, one in row.recalls.items():
        fields |= _bounds(f"recall@{n}", one, 1)
    fields |= _bounds("gain", row.gain, 100) | {"gain p": row.gain_p}
    if row.over_baseline:
        fields |= _bounds("over baseline", row.over_baseline, 100)
    return fields | {"over baseline p": row.over_baseline_p}


def _bounds(name: str, one: Estimate, scale: float) -> dict[str, float]:
    return {name: scale * one.value, f"{name} low": scale * one.low, f"{name} high": scale * one.high}


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(_row(cells) for cells in lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
