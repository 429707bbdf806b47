"""Charts of a report page as Vega-Lite specifications, which are JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_sare.evaluation.html.contents import Measures
from keras_sare.evaluation.plots.pictures import COLOURS
from keras_sare.evaluation.report import RecallReport
from keras_sare.evaluation.verdict import Verdict

Specification = dict[str, Any]

HEIGHT = 300
SWEEP_NS = (1, 5, 10)
"""The N that can be chosen in charts of recall against something."""


def altair() -> Any:
    """The package, which is optional.

    Raises:
        ImportError: it is not installed; the message says how.
    """
    try:
        import altair as package
    except ImportError as error:
        raise ImportError("A report needs Altair and vl-convert: pip install 'keras-sare[report]'") from error
    return package


def recall_rows(reports: Mapping[str, RecallReport], measures: Mapping[str, Measures]) -> list[dict[str, Any]]:
    """A row for each model and N: recall and, where the evaluation has measured it, its interval, in per cent."""
    rows = []
    for model, report in reports.items():
        for n, recall in zip(report.ns, report.recalls, strict=True):
            found = measures.get(model, {}).get(f"recall@{n}", {})
            bounds = {name: 100 * bound for name in ("low", "high") if (bound := found.get(name)) is not None}
            rows.append({"model": model, "N": n, "recall": 100 * recall, **bounds})
    return rows


def recall_chart(rows: Sequence[Mapping[str, Any]]) -> Specification:
    """Recall over N with its intervals as bands.

    Args:
        rows: of `recall_rows`.
    """
    alt = altair()
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        x=alt.X("N:Q", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(values=[1, 2, 5, 10, 20, 50, 100])),
        color=by_name(dict.fromkeys(row["model"] for row in rows)),
        tooltip=["model:N", "N:Q", *(alt.Tooltip(f"{name}:Q", format=".1f") for name in ("recall", "low", "high"))],
    )
    scale = alt.Scale(zero=False, nice=True)
    band = (
        base.transform_filter("isValid(datum.low)")
        .mark_area(opacity=0.18)
        .encode(y=alt.Y("low:Q", title="queries found, %", scale=scale), y2="high:Q")
    )
    line = base.mark_line(point=True).encode(y=alt.Y("recall:Q", scale=scale))
    return finished(alt.layer(band, line), "Recall at N of each model, with intervals of 95 percent")


def verdict_chart(verdict: Verdict) -> Specification:
    """How many points each model is below the best one, with the interval of the difference."""
    alt = altair()
    rows = [
        {"model": name, "points": -100 * one.difference, "low": -100 * one.interval[1], "high": -100 * one.interval[0]}
        for name, one in verdict.against.items()
    ]
    title = f"{verdict.measure} minus that of {verdict.best}, points"
    tooltip = ["model:N", *(alt.Tooltip(f"{name}:Q", format=".1f") for name in ("points", "low", "high"))]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("model:N", sort=list(verdict.against), title=None, axis=alt.Axis(labelLimit=150)), tooltip=tooltip
    )
    bars = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", title=title, axis=alt.Axis(tickCount=6)), x2="high:Q")
    points = base.mark_point(filled=True, size=90, opacity=1, color=COLOURS[1]).encode(x="points:Q")
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeDash=[4, 4]).encode(x="zero:Q")
    drawn = alt.layer(zero, bars, points)
    return finished(drawn, f"Differences of {verdict.measure} to the best model with intervals", 40 * len(rows) + 20)


def sweep_rows(found: Mapping[str, Mapping[str, RecallReport]]) -> list[dict[str, Any]]:
    """A row for each model, value and N: recall in per cent."""
    return [
        {"model": model, "value": value, "N": n, "recall": 100 * report.at(n)}
        for model, reports in found.items()
        for value, report in reports.items()
        for n in SWEEP_NS
        if n in report.ns
    ]


def sweep_chart(rows: Sequence[Mapping[str, Any]], by: str) -> Specification:
    """Recall against a number, or against what is named in order; N is chosen.

    Args:
        rows: of `sweep_rows`.
        by: what `value` is.
    """
    alt = altair()
    values = list(dict.fromkeys(row["value"] for row in rows))
    numbers = all(value.isdecimal() for value in values)
    if numbers:
        ticks = alt.Axis(values=sorted(map(int, values)), format="d", labelOverlap=True)
        x = alt.X("value:Q", title=by, scale=alt.Scale(type="log", nice=False), axis=ticks)
    else:
        x = alt.X("value:O", title=by, sort=values, axis=alt.Axis(labelAngle=0))
    shown = [{**row, "value": int(row["value"]) if numbers else row["value"]} for row in rows]
    ns = sorted({row["N"] for row in rows})
    param = alt.param(name="n", value=ns[0], bind=alt.binding_select(options=ns, name="recall at "))
    chart = alt.Chart(alt.Data(values=shown)).mark_line(point=True).add_params(param).transform_filter("datum.N == n")
    chart = chart.encode(
        x=x,
        y=alt.Y("recall:Q", title="queries found, %", scale=alt.Scale(zero=False)),
        color=by_name(dict.fromkeys(row["model"] for row in rows)),
        tooltip=["model:N", "value:N", alt.Tooltip("recall:Q", format=".1f")],
    )
    return finished(chart, f"Recall against {by}")


def by_name(names: Iterable[str], field: str = "model") -> Any:
    """A colour for each name, always the same, and their legend."""
    alt = altair()
    names = list(names)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
    legend = alt.Legend(orient="bottom", direction="vertical", title=None, labelLimit=300, symbolOpacity=1)
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=names, range=colours), legend=legend)


def finished(chart: Any, description: str, height: int | None = HEIGHT) -> Specification:
    """A chart as JSON, as wide as its place; `height` is None where it has sizes of its own."""
    chart = chart.properties(description=description)
    if height is not None:
        chart = chart.properties(width="container", height=height)
    found: Specification = chart.to_dict()
    return found
