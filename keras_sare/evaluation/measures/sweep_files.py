"""Sweeps as files and tables."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from keras_sare.evaluation.report import RecallReport
from keras_sare.utils.files import atomic_path

_SHOWN = (1, 5, 10)


def write_sweep(
    path: Path, by: str, sweeps: Mapping[str, Mapping[int, RecallReport]] | Mapping[str, Mapping[str, RecallReport]]
) -> str:
    """Writes recall against a number: for each model the reports by it.

    Args:
        path: the JSON file, replaced as a whole.
        by: what the number is, for the table: "dimension", "database images".
        sweeps: by model, then by number, or by what else is written so.

    Returns:
        The table, Markdown.
    """
    contents = {model: {str(n): asdict(report) for n, report in each.items()} for model, each in sweeps.items()}
    with atomic_path(path) as file:
        file.write_text(json.dumps(contents, indent=2) + "\n")
    first = next(report for each in sweeps.values() for report in each.values())
    shown = [n for n in _SHOWN if n in first.ns]
    lines = [
        [f"{first.dataset}, {first.protocol}", by, *(f"recall@{n}" for n in shown)],
        ["---", *("---:" for _ in (by, *shown))],
    ]
    for model, each in sweeps.items():
        lines += [[model, str(n), *(_cell(report, at) for at in shown)] for n, report in each.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(report: RecallReport, n: int) -> str:
    return f"{report.at(n):.3f}" if n in report.ns else "–"
