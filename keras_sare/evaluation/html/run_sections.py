"""Sections of a report page on how runs and evaluations were made."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from keras_sare.evaluation.html.contents import Contents
from keras_sare.evaluation.html.parts import Drawings, details, section
from keras_sare.evaluation.html.tables import escaped, named_values, rows_table
from keras_sare.evaluation.html.training_charts import time_chart, time_rows, training_chart

_VISIBLE_SETTINGS = 80


def training_sections(contents: Sequence[Contents], drawings: Drawings) -> list[str]:
    """The course of training, and where its time went; nothing where nothing was trained."""
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
    times = time_rows(history)
    shown = [{name: value for name, value in row.items() if not name.startswith("seconds_")} for row in history]
    sections = [section("Training", *parts, details(rows_table("Figures of each epoch", shown)))]
    if times:
        drawn = drawings.place(time_chart(history))
        sections.append(section("Where the time went", drawn, details(rows_table("Seconds by part", times))))
    return sections


def configuration_sections(contents: Sequence[Contents]) -> list[str]:
    """Settings, and where the page was written."""
    settings = [
        details(
            named_values(f"Settings of {one.name}", dict(list(one.settings.items())[:_VISIBLE_SETTINGS])), "Settings"
        )
        for one in contents
        if one.settings
    ]
    return [
        section("Configuration", *settings) if settings else "",
        section("Environment", named_values("Where this page was written", environment())),
    ]


def environment() -> dict[str, object]:
    """Versions and machine of this process."""
    versions = {}
    for package in ("keras-sare", "tensorflow", "keras", "numpy", "altair"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    machine = {"python": platform.python_version(), "system": platform.platform(), "processors": os.cpu_count()}
    return {**versions, **machine}
