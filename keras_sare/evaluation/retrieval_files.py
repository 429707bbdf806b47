"""Reports of image retrieval as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_sare.evaluation.measures.environment import environment
from keras_sare.evaluation.plots.retrieval_plots import dimension_curves, retrieval_bars
from keras_sare.evaluation.retrieval_report import (
    Reports,
    RetrievalReport,
    check_same_evaluation,
    format_retrieval_table,
)
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.files import atomic_path

Sweeps = Mapping[str, Mapping[int, Mapping[str, RetrievalReport]]]
"""What `dimension_sweep` gives, by name of the method."""

_RESULTS = "retrieval.json"


@plain_arguments
def write_retrieval(
    folder: Path,
    reports: Reports,
    sweeps: Sweeps | None = None,
    bases: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    dimensions: Sequence[int] = (),
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Writes `retrieval.json`, the tables `retrieval.md` and the bars `retrieval.png`.

    `retrieval.json` also says with which versions and devices that was measured. With sweeps, there is also
    `retrieval_dimensions_PROTOCOL.png`, a picture of curves for each protocol; the other two files then hold the sweeps
    too.

    Args:
        folder: where.
        reports: by name of the method, then by protocol, of one dataset.
        sweeps: reports by name, number of components and protocol, of the same dataset. A method that reaches none of
            the numbers has a row of dashes, and no curve.
        bases: name of the row that a row builds on, see `format_retrieval_table`.
        notes: sentences below the tables.
        dimensions: see `format_sweeps`.
        settings: how descriptors were extracted and searched, as JSON can hold it: a line below the tables.

    Returns:
        The tables, the settings, and the notes as a list, Markdown.

    Raises:
        ValueError: there is no report, methods were not measured on the same thing, or a base is no row.
    """
    text = format_retrieval_table(reports, bases=bases)
    contents: dict[str, Any] = {"reports": {name: _fields(each) for name, each in reports.items()}}
    contents |= {"bases": dict(bases or {}), "notes": list(notes), "settings": dict(settings or {})}
    contents["environment"] = environment()
    sweeps = sweeps if sweeps and any(sweeps.values()) else {}
    if sweeps:
        check_same_evaluation({f"{name}, {d}": each for name, sweep in sweeps.items() for d, each in sweep.items()})
        text += "\n\n" + format_sweeps(sweeps, dimensions)
        contents["sweeps"] = {name: {d: _fields(each) for d, each in sweep.items()} for name, sweep in sweeps.items()}
    if settings:
        text += "\n\n" + f"Settings: {', '.join(f'{name} {_shown(value)}' for name, value in settings.items())}."
    if notes:
        text += "\n\n" + "\n".join(f"- {note}" for note in notes)
    with atomic_path(folder / _RESULTS) as path:
        path.write_text(json.dumps(contents, indent=2) + "\n")
    with atomic_path(folder / "retrieval.md") as path:
        path.write_text(text + "\n")
    retrieval_bars(folder / "retrieval.png", reports)
    for protocol, report in _protocols(sweeps).items():
        curves = {name: points for name, points in _curves(sweeps, protocol).items() if points}
        dimension_curves(folder / f"retrieval_dimensions_{protocol}.png", curves, f"{report.dataset}, {protocol}")
    return text


def read_retrieval(path: Path) -> dict[str, dict[str, RetrievalReport]]:
    """Reads a `retrieval.json`: reports by name of the method, then by protocol.

    Raises:
        ValueError: the file is damaged; it is named.
    """
    try:
        reports = json.loads(path.read_text())["reports"]
        return {
            name: {protocol: RetrievalReport.from_json(json.dumps(one)) for protocol, one in each.items()}
            for name, each in reports.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is damaged; write it again: {error}") from error


def check_same_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Checks that no results of other settings would be replaced.

    Args:
        folder: that `write_retrieval` is going to write to.
        settings: that it is going to write.

    Raises:
        FileExistsError: there are such results, or a `retrieval.json` of something else.
    """
    path = folder / _RESULTS
    if not path.is_file():
        return
    try:
        before = dict(json.loads(path.read_text())["settings"])
    except (ValueError, KeyError, TypeError):
        before = {}
    now = json.loads(json.dumps(settings))
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing:
        changes = ", ".join(f"{name}: {before.get(name)} there, {now.get(name)} now" for name in differing)
        raise FileExistsError(
            f"`output` must not hold results of other settings. Received: {str(folder)!r} with {changes}. Name another "
            f"folder, or delete {path.name} in it."
        )


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


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_shown(one)}' for name, one in value.items())})"
    return "none" if value is None else str(value)


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
