"""Charts of a report page as Vega-Lite specifications, which are JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_sare.evaluation.html.contents import Measures
from keras_sare.evaluation.plots.pictures import COLOURS
from keras_sare.evaluation.report import RecallReport

Specification = dict[str, Any]

HEIGHT = 300


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


def by_name(names: Iterable[str], field: str = "model") -> Any:
    """A colour for each name, always the same, and their legend."""
    alt = altair()
    names = list(names)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
    legend = alt.Legend(orient="bottom", direction="vertical", title=None, labelLimit=300)
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=names, range=colours), legend=legend)


def finished(chart: Any, description: str, height: int | None = HEIGHT) -> Specification:
    """A chart as JSON, as wide as its place; `height` is None where it has sizes of its own."""
    chart = chart.properties(description=description)
    if height is not None:
        chart = chart.properties(width="container", height=height)
    found: Specification = chart.to_dict()
    return found
