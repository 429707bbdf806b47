"""Sections of a report page on what was measured."""

from collections.abc import Mapping, Sequence

from keras_sare.evaluation.html import charts
from keras_sare.evaluation.html.contents import Contents
from keras_sare.evaluation.html.parts import Drawings, details, section
from keras_sare.evaluation.html.tables import escaped, rows_table


def recall_sections(contents: Sequence[Contents], drawings: Drawings) -> list[str]:
    """Recall with its intervals, and other measures; nothing where none was measured."""
    reports = {name: report for one in contents for name, report in one.reports.items()}
    if not reports:
        return []
    first = next(iter(reports.values()))
    about = (
        f"{first.dataset}, {first.protocol}: {first.queries} queries "
        f"({first.queries_without_positive} without a positive), {first.database} database images. Bands: 95 % "
        "intervals by bootstrap over the queries."
    )
    measures = {model: found for one in contents for model, found in one.measures.items()}
    rows = charts.recall_rows(reports, measures)
    others = [
        {"model": model, **{name: _with_interval(one) for name, one in found.items() if not name.startswith("recall@")}}
        for model, found in measures.items()
    ]
    parts = [f"<p>{escaped(about)}</p>", drawings.place(charts.recall_chart(rows))]
    parts += [details(rows_table("Recall, per cent", rows))]
    if others:
        parts.append(rows_table("Other measures, with 95 % intervals", others))
    return [section("Recall", *parts)]


def _with_interval(measure: Mapping[str, float | None]) -> str:
    value, low, high = (measure.get(name) for name in ("value", "low", "high"))
    if value is None:
        return ""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
