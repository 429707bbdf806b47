"""Recall reports as files."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from keras_sare.evaluation.plots import recall_curves
from keras_sare.evaluation.report import RecallReport, format_table
from keras_sare.utils.files import atomic_path


def write_reports(folder: Path, reports: Mapping[str, RecallReport], stem: str = "recall") -> str:
    """Writes `recall.json`, the table `recall.md` and the curves `recall.png`.

    Args:
        folder: where.
        reports: by name, of one dataset and protocol.
        stem: name of the files without suffix.

    Returns:
        The table, Markdown.
    """
    table = format_table(reports)
    with atomic_path(folder / f"{stem}.json") as path:
        path.write_text(json.dumps({name: asdict(report) for name, report in reports.items()}, indent=2) + "\n")
    with atomic_path(folder / f"{stem}.md") as path:
        path.write_text(table + "\n")
    recall_curves(folder / f"{stem}.png", reports)
    return table
