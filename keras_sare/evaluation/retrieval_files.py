"""Reports of image retrieval as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_sare.evaluation.retrieval_plots import dimension_curves, retrieval_bars
from keras_sare.evaluation.retrieval_report import (
    Reports,
    RetrievalReport,
    check_same_evaluation,
    format_retrieval_table,
)
from keras_sare.utils.files import atomic_path

Sweeps = Mapping[str, Mapping[int, Mapping[str, RetrievalReport]]]
"""What `dimension_sweep` gives, by name of the method."""


def write_retrieval(
    folder: Path,
    reports: Reports,
    sweeps: Sweeps | None = None,
    stem: str = "retrieval",
    bases: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    dimensions: Sequence[int] = (),
) -> str:
    """Writes `retrieval.json`, the tables `retrieval.md` and the bars `retrieval.png`.

    With sweeps, also `retrieval_dimensions_PROTOCOL.png`, a picture of curves for each protocol; the other two files
    then hold the sweeps too.

    Args:
        folder: where.
        reports: by name of the method, then by protocol, of one dataset.
        sweeps: reports by name, number of components and protocol, of the same dataset. A method that reaches none of
            the numbers has a row of dashes, and no curve.
        stem: name of the files without suffix.
        bases: name of the row that a row builds on, see `format_retrieval_table`.
        notes: sentences below the tables.
        dimensions: see `format_sweeps`.

    Returns:
        The tables, and the notes as a list, Markdown.

    Raises:
        ValueError: there is no report, methods were not measured on the same thing, or a base is no row.
    """
    text = format_retrieval_table(reports, bases=bases)
    contents: dict[str, Any] = {"reports": {name: _fields(each) for name, each in reports.items()}}
    contents |= {"bases": dict(bases or {}), "notes": list(notes)}
    sweeps = sweeps if sweeps and any(sweeps.values()) else {}
    if sweeps:
        check_same_evaluation({f"{name}, {d}": each for name, sweep in sweeps.items() for d, each in sweep.items()})
        text += "\n\n" + format_sweeps(sweeps, dimensions)
        contents["sweeps"] = {name: {d: _fields(each) for d, each in sweep.items()} for name, sweep in sweeps.items()}
    if notes:
        text += "\n\n" + "\n".join(f"- {note}" for note in notes)
    with atomic_path(folder / f"{stem}.json") as path:
        path.write_text(json.dumps(contents, indent=2) + "\n")
    with atomic_path(folder / f"{stem}.md") as path:
        path.write_text(text + "\n")
    retrieval_bars(folder / f"{stem}.png", reports)
    for protocol, report in _protocols(sweeps).items():
        curves = {name: points for name, points in _curves(sweeps, protocol).items() if points}
        dimension_curves(folder / f"{stem}_dimensions_{protocol}.png", curves, f"{report.dataset}, {protocol}")
    return text


def format_sweeps(sweeps: Sweeps, dimensions: Sequence[int] = ()) -> str:
    """Lays sweeps out in Markdown: mAP in points of 100 by number of components, a row for each method and protocol.

    Args:
        sweeps: reports by name, number of components and protocol.
        dimensions: numbers of components that have a column even where no method reaches them.

    Returns:
        The table, without a trailing line break.
    """
    dimensions = sorted({*dimensions, *(d for sweep in sweeps.values() for d in sweep)})
    lines = [["mAP", "protocol", *map(str, dimensions)], ["---", "---", *("---:" for _ in dimensions)]]
    for protocol in _protocols(sweeps):
        for name, points in _curves(sweeps, protocol).items():
            lines.append([name, protocol, *(f"{100 * points[d]:.1f}" if d in points else "–" for d in dimensions)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _curves(sweeps: Sweeps, protocol: str) -> dict[str, dict[int, float]]:
    return {
        name: {d: each[protocol].mean_average_precision for d, each in sweep.items()} for name, sweep in sweeps.items()
    }


def _protocols(sweeps: Sweeps) -> dict[str, RetrievalReport]:
    """The protocols of sweeps, each with one of its reports."""
    return {
        protocol: report for sweep in sweeps.values() for each in sweep.values() for protocol, report in each.items()
    }


def _fields(reports: Mapping[str, RetrievalReport]) -> dict[str, Any]:
    return {protocol: asdict(report) for protocol, report in reports.items()}
