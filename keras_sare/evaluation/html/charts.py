"""Charts of a report page as Vega-Lite specifications, which are JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binom

from keras_sare.evaluation.html.contents import QueryAnswer
from keras_sare.evaluation.plots.pictures import COLOURS
from keras_sare.evaluation.report import RecallReport

Specification = dict[str, Any]

LEVEL = 0.95
MOST_POINTS = 20_000
"""Queries of all models together that are drawn; beyond, every second, third ... is."""

_HIT_COLOURS = {"found": "#0072B2", "missed": "#D55E00"}
_BINS = 30
_HEIGHT = 300


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


def interval(recall: float, queries: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval that bootstrap by query gives a recall, exactly: the resampled hits follow a binomial distribution.

    Args:
        recall: share of the queries found, 0 to 1.
        queries: how many there are.
        level: share of the resamples inside.

    Returns:
        (low, high).
    """
    tail = (1 - level) / 2
    low, high = binom.ppf([tail, 1 - tail], queries, recall) / max(queries, 1)
    return float(low), float(high)


def recall_rows(reports: Mapping[str, RecallReport]) -> list[dict[str, Any]]:
    """A row for each model and N: recall and its interval, in per cent."""
    rows = []
    for model, report in reports.items():
        for n, recall in zip(report.ns, report.recalls, strict=True):
            low, high = interval(recall, report.queries)
            rows.append({"model": model, "N": n, "recall": 100 * recall, "low": 100 * low, "high": 100 * high})
    return rows


def recall_chart(reports: Mapping[str, RecallReport]) -> Specification:
    """Recall over N with bands of 95 %."""
    alt = altair()
    base = alt.Chart(alt.Data(values=recall_rows(reports))).encode(
        x=alt.X("N:Q", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(values=[1, 2, 5, 10, 20, 50, 100])),
        color=_models(reports),
        tooltip=["model:N", "N:Q", *(alt.Tooltip(f"{name}:Q", format=".1f") for name in ("recall", "low", "high"))],
    )
    scale = alt.Scale(zero=False, nice=True)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title="queries found, %", scale=scale), y2="high:Q")
    line = base.mark_line(point=True).encode(y=alt.Y("recall:Q", scale=scale))
    return _finished(alt.layer(band, line), "Recall at N of each model, with intervals of 95 percent")


def training_chart(history: Sequence[Mapping[str, Any]], name: str, title: str) -> Specification:
    """One figure of each epoch.

    Args:
        history: rows with `run`, `epoch` and the figure.
        name: of the figure, for example "loss".
        title: of the axis.
    """
    alt = altair()
    rows = [{"run": row["run"], "epoch": row["epoch"], "value": row[name]} for row in history if name in row]
    chart = alt.Chart(alt.Data(values=rows)).mark_line(point=True)
    chart = chart.encode(
        x=alt.X("epoch:Q", axis=alt.Axis(values=sorted({row["epoch"] for row in rows}), format="d", labelOverlap=True)),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
        color=_models(dict.fromkeys(row["run"] for row in rows), "run"),
        tooltip=["run:N", "epoch:Q", alt.Tooltip("value:Q", format=".4f")],
    )
    return _finished(chart, f"{title} of each epoch", height=200)


def time_rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each run and part of the work: seconds of all epochs."""
    totals: dict[tuple[str, str], float] = {}
    for row in history:
        parts = {name.removeprefix("seconds_"): value for name, value in row.items() if name.startswith("seconds_")}
        parts["other"] = max(0.0, row.get("seconds", 0.0) - sum(parts.values()))
        for part, seconds in parts.items():
            key = (row["run"], part.replace("_", " "))
            totals[key] = totals.get(key, 0.0) + seconds
    return [{"run": run, "part": part, "seconds": round(s, 2)} for (run, part), s in totals.items() if s > 0]


def time_chart(history: Sequence[Mapping[str, Any]]) -> Specification:
    """Bars: where the time of a run went."""
    alt = altair()
    chart = alt.Chart(alt.Data(values=time_rows(history))).mark_bar()
    chart = chart.encode(
        x=alt.X("seconds:Q"),
        y=alt.Y("part:N", sort="-x", title=None),
        yOffset="run:N",
        color=_models(dict.fromkeys(row["run"] for row in history), "run"),
        tooltip=["run:N", "part:N", "seconds:Q"],
    )
    return _finished(chart, "Seconds of all epochs by part of the work", height=220)


def shown_answers(answers: Sequence[QueryAnswer]) -> Sequence[QueryAnswer]:
    """At most `MOST_POINTS` answers, spread over all."""
    return answers[:: max(1, math.ceil(len(answers) / MOST_POINTS))]


def query_chart(answers: Sequence[QueryAnswer], models: Sequence[str], photos: Sequence[Mapping[str, Any]]) -> Any:
    """Map of the queries, histogram of distances and photos, where a choice in one filters the others.

    Args:
        answers: of all models; without positions there is no map, without distances no histogram.
        models: their names; the last is shown first.
        photos: rows with `model`, `query`, `column` and `url`: pictures of some queries and what was found for them.

    Returns:
        The specification; None where there is nothing to draw.
    """
    alt = altair()
    rows = [_point(one) for one in shown_answers(answers)]
    has_map = any(row["east"] is not None for row in rows)
    has_distances = any(row["distance"] is not None for row in rows)
    area = alt.selection_interval(name="area") if has_map else None
    range_ = alt.selection_interval(name="distances", encodings=["x"]) if has_distances else None
    views = []
    if area is not None:
        views.append(_map(rows, area, range_))
    if range_ is not None:
        views.append(_histogram(rows, range_, area))
    if not views:
        return None
    if photos:
        chosen = {row["query"]: {**row} for row in rows}
        placed = [{**chosen.get(photo["query"], {}), **photo} for photo in photos]
        views.append(_photos(placed, [one for one in (area, range_) if one is not None]))
    options = alt.binding_select(options=list(models), name="model ")
    param = alt.param(name="chosen", value=models[-1], bind=options)
    chart = alt.vconcat(*views, data=alt.Data(values=rows)).add_params(param).transform_filter("datum.model == chosen")
    return _finished(chart, "Queries on a map, distances of their matches, and photos of those that are chosen", None)


def _map(rows: Sequence[Mapping[str, Any]], area: Any, range_: Any) -> Any:
    alt = altair()
    domains = equal_domains(rows)
    opacity = alt.value(0.75) if range_ is None else alt.condition(range_, alt.value(0.8), alt.value(0.05))
    chart = alt.Chart(name="map").mark_circle(size=40).transform_filter("isValid(datum.east) && isValid(datum.north)")
    return (
        chart.encode(
            x=alt.X("east:Q", title="metres east", scale=alt.Scale(domain=domains[0], nice=False)),
            y=alt.Y("north:Q", title="metres north", scale=alt.Scale(domain=domains[1], nice=False)),
            color=_found(),
            opacity=opacity,
            tooltip=["query:N", "match:N", "distance:Q", "score:Q", "found:N"],
        )
        .properties(width=_HEIGHT, height=_HEIGHT)
        .add_params(area)
    )


def _histogram(rows: Sequence[Mapping[str, Any]], range_: Any, area: Any) -> Any:
    alt = altair()
    chart = alt.Chart(name="histogram").mark_bar()
    if area is not None:
        chart = chart.transform_filter(area)
    chart = chart.transform_filter("isValid(datum.distance)").transform_calculate(shown="datum.distance + 1")
    steps = _steps(rows)
    chart = chart.transform_calculate(
        low=f"pow(10, floor(log(datum.shown) / LN10 * {steps}) / {steps})",
        high=f"pow(10, (floor(log(datum.shown) / LN10 * {steps}) + 1) / {steps})",
    )
    return (
        chart.encode(
            x=alt.X("low:Q", title="metres between query and match, + 1", scale=alt.Scale(type="log", nice=False)),
            x2="high:Q",
            y=alt.Y("count():Q", title="queries", stack=True),
            color=_found(),
            tooltip=["found:N", "count():Q"],
        )
        .properties(width=_HEIGHT, height=160)
        .add_params(range_)
    )


def _steps(rows: Sequence[Mapping[str, Any]]) -> int:
    """Bars in each factor of ten."""
    largest = max(row["distance"] for row in rows if row["distance"] is not None)
    return max(1, round(_BINS / max(1.0, math.log10(largest + 1))))


def _photos(rows: Sequence[Mapping[str, Any]], selections: Sequence[Any]) -> Any:
    alt = altair()
    chart = alt.Chart(alt.Data(values=list(rows)), name="photos").mark_image(width=76, height=58)
    for one in selections:
        chart = chart.transform_filter(one)
    chart = chart.transform_window(place="dense_rank()", sort=[alt.SortField("query")]).transform_filter(
        "datum.place <= 6"
    )
    return chart.encode(
        x=alt.X(
            "column:N",
            sort=["query", "positive", *"12345"],
            title=None,
            axis=alt.Axis(orient="top", labelAngle=0, domain=False),
        ),
        y=alt.Y("query:N", title=None, axis=None),
        url="url:N",
        tooltip=["query:N", "column:N", "file:N", "found:N"],
    ).properties(width=_HEIGHT, height=380, title="Photos of the chosen queries")


def equal_domains(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """Bounds of both axes, of one length, so that a metre is as long on each; the view is a square."""
    bounds = []
    for axis in ("east", "north"):
        values = [row[axis] for row in rows if row[axis] is not None]
        bounds.append((min(values), max(values)))
    side = max(1.0, 1.05 * max(high - low for low, high in bounds))
    return tuple([(low + high - side) / 2, (low + high + side) / 2] for low, high in bounds)  # type: ignore[return-value]


def _point(answer: QueryAnswer) -> dict[str, Any]:
    return {
        "model": answer.model,
        "query": answer.query,
        "match": answer.match,
        "east": answer.easting,
        "north": answer.northing,
        "distance": answer.distance,
        "score": answer.score,
        "found": "found" if answer.hit else "missed",
    }


def _models(names: Mapping[str, Any], field: str = "model") -> Any:
    alt = altair()
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
    legend = alt.Legend(orient="bottom", direction="vertical", title=None, labelLimit=300)
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(names), range=colours), legend=legend)


def _found() -> Any:
    alt = altair()
    scale = alt.Scale(domain=list(_HIT_COLOURS), range=list(_HIT_COLOURS.values()))
    return alt.Color("found:N", scale=scale, legend=alt.Legend(orient="top", title=None))


def _finished(chart: Any, description: str, height: int | None = _HEIGHT) -> Specification:
    chart = chart.properties(description=description)
    if height is not None:
        chart = chart.properties(width="container", height=height)
    found: Specification = chart.to_dict()
    return found
