"""Charts of the course of training, and of where time went."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_sare.evaluation.html.charts import Specification, altair, by_name, finished


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
        color=by_name(dict.fromkeys(row["run"] for row in rows), "run"),
        tooltip=["run:N", "epoch:Q", alt.Tooltip("value:Q", format=".4f")],
    )
    return finished(chart, f"{title} of each epoch", height=200)


def epoch_times(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each run and part of the work: seconds of all epochs."""
    totals: dict[tuple[str, str], float] = {}
    for row in history:
        parts = {name.removeprefix("seconds_"): value for name, value in row.items() if name.startswith("seconds_")}
        parts["other"] = max(0.0, row.get("seconds", 0.0) - sum(parts.values()))
        for part, seconds in parts.items():
            key = (row["run"], part.replace("_", " "))
            totals[key] = totals.get(key, 0.0) + seconds
    return [{"run": run, "part": part, "seconds": round(s, 2)} for (run, part), s in totals.items() if s > 0]


def time_chart(rows: Sequence[Mapping[str, Any]], description: str) -> Specification:
    """Bars: where time went.

    Args:
        rows: with `run`, `part` and `seconds`.
        description: of the chart.
    """
    alt = altair()
    chart = alt.Chart(alt.Data(values=list(rows))).mark_bar()
    runs = list(dict.fromkeys(row["run"] for row in rows))
    chart = chart.encode(
        x=alt.X("seconds:Q"),
        y=alt.Y("part:N", sort="-x", title=None),
        yOffset=alt.YOffset("run:N", sort=runs),
        color=by_name(runs, "run"),
        tooltip=["run:N", "part:N", "seconds:Q"],
    )
    bars = len({row["part"] for row in rows}) * len(runs)
    return finished(chart, description, height=max(120, 18 * bars))
