"""Sections of a report page on how runs and evaluations were made."""

from collections.abc import Sequence
from typing import Any

from keras_sare.evaluation.evaluation_record import Stage
from keras_sare.evaluation.html.contents import Contents
from keras_sare.evaluation.html.parts import Drawings, details, section
from keras_sare.evaluation.html.tables import columns_table, escaped, rows_table
from keras_sare.evaluation.html.training_charts import epoch_times, time_chart, training_chart
from keras_sare.evaluation.measures.environment import environment


def training_sections(contents: Sequence[Contents], drawings: Drawings) -> list[str]:
    """The course of training; nothing where nothing was trained."""
    history = [{"run": one.name, **row} for one in contents for row in one.history]
    if not history:
        return []
    figures = {"loss": "loss", "violating": "share of violating tuples"}
    figures |= {
        name: f"validation {name}" for row in history for name in row if name in ("recall@1", "recall@5", "mAP")
    }
    parts = []
    for name, title in figures.items():
        if any(name in row for row in history):
            parts += [f"<h3>{escaped(title)}</h3>", drawings.place(training_chart(history, name, title))]
    shown = [{name: value for name, value in row.items() if not name.startswith("seconds_")} for row in history]
    return [section("Training", *parts, details(rows_table("Figures of each epoch", shown)))]


def time_sections(contents: Sequence[Contents], drawings: Drawings) -> list[str]:
    """Where the time of trainings and evaluations went; nothing where none was measured."""
    parts = []
    if times := epoch_times([{"run": one.name, **row} for one in contents for row in one.history]):
        parts.append(drawings.place(time_chart(times, "Seconds of all epochs by part of the work")))
        parts.append(details(rows_table("Seconds of all epochs by part", times)))
    if stages := [_row(stage) for one in contents for stage in one.stages]:
        bars = [{"run": row["model"], "part": row["stage"], "seconds": row["seconds"]} for row in stages]
        parts.append(drawings.place(time_chart(bars, "Seconds of the evaluation by stage")))
        parts.append(details(rows_table("Stages of the evaluation", stages)))
    return [section("Where the time went", *parts)] if parts else []


def _row(stage: Stage) -> dict[str, Any]:
    return {
        "model": stage.model,
        "stage": stage.stage,
        "images": stage.images,
        "seconds": round(stage.seconds, 2),
        "images a second": stage.images / stage.seconds if stage.seconds else None,
        "most memory so far, MiB": None if stage.peak_bytes is None else stage.peak_bytes // 2**20,
    }


def configuration_sections(contents: Sequence[Contents]) -> list[str]:
    """Rules, settings, and where this was measured and the page was written, side by side where there are several."""
    settings = {one.name: one.settings for one in contents if one.settings}
    named = {"name": "name", "rules": "text", "source": "source"}
    protocols = {
        one.name: {shown: one.protocol.get(name) for shown, name in named.items()} for one in contents if one.protocol
    }
    environments = {one.name: one.environment for one in contents if one.environment}
    parts = []
    if protocols:
        parts.append(columns_table("Protocol", protocols))
    if settings:
        parts.append(details(columns_table("Settings", settings), "Settings"))
    return [
        section("Configuration", *parts) if parts else "",
        section("Environment", columns_table("Where it was measured", {**environments, "this page": environment()})),
    ]
