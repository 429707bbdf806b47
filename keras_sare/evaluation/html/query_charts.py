"""Queries on a map, distances of their matches and photos, where a choice in one filters the others."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from keras_sare.evaluation.html.charts import HEIGHT, altair, finished
from keras_sare.evaluation.html.contents import QueryAnswer
from keras_sare.evaluation.html.gallery import most_found

MOST_POINTS = 20_000
"""Queries of all models together that are drawn; beyond, every second, third ... is."""

_HIT_COLOURS = {"found": "#0072B2", "missed": "#D55E00"}
_BINS = 30
_LEAST_HEIGHT = 120.0


def shown_answers(answers: Sequence[QueryAnswer]) -> Sequence[QueryAnswer]:
    """At most `MOST_POINTS` answers, spread over all."""
    return answers[:: max(1, math.ceil(len(answers) / MOST_POINTS))]


def query_chart(answers: Sequence[QueryAnswer], models: Sequence[str], photos: Sequence[Mapping[str, Any]]) -> Any:
    """Map of the queries, histogram of distances and photos, where a choice in one filters the others.

    Args:
        answers: of all models; without positions there is no map, without distances no histogram.
        models: their names, the first is the baseline; of the others the one that finds most is shown first.
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
    param = alt.param(name="chosen", value=most_found(answers, models), bind=options)
    chart = alt.vconcat(*views, data=alt.Data(values=rows)).add_params(param).transform_filter("datum.model == chosen")
    return finished(chart, "Queries on a map, distances of their matches, and photos of those that are chosen", None)


def _map(rows: Sequence[Mapping[str, Any]], area: Any, range_: Any) -> Any:
    alt = altair()
    domains, height = equal_domains(rows)
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
        .properties(width=HEIGHT, height=height)
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
        .properties(width=HEIGHT, height=160)
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
    ).properties(width=HEIGHT, height=380, title="Photos of the chosen queries")


def equal_domains(rows: Sequence[Mapping[str, Any]]) -> tuple[list[list[float]], float]:
    """Bounds of both axes and the height of the map in pixels, so that a metre is as long on each axis.

    The map is `HEIGHT` wide and no higher; queries along a line from west to east need little of it.
    """
    bounds = []
    for axis in ("east", "north"):
        values = [row[axis] for row in rows if row[axis] is not None]
        bounds.append((min(values), max(values)))
    wide, high = (1.05 * (last - first) for first, last in bounds)
    side = max(1.0, wide, high)
    height = max(_LEAST_HEIGHT, HEIGHT * high / side)
    sides = (side, side * height / HEIGHT)
    domains = [[(sum(pair) - length) / 2, (sum(pair) + length) / 2] for pair, length in zip(bounds, sides, strict=True)]
    return domains, height


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


def _found() -> Any:
    alt = altair()
    scale = alt.Scale(domain=list(_HIT_COLOURS), range=list(_HIT_COLOURS.values()))
    return alt.Color("found:N", scale=scale, legend=alt.Legend(orient="top", title=None))
