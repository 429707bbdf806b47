"""Recall reports as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from keras_sare.evaluation.plots.recall_plots import recall_curves
from keras_sare.evaluation.report import RecallReport, format_table
from keras_sare.utils.files import atomic_path

EXPLANATION = (
    "recall@N is the share of the queries that have a right database image among the N most similar ones. "
    "A row `A / B` is the recall of A divided by that of B: above 1, A finds more."
)


def write_reports(
    folder: Path, reports: Mapping[str, RecallReport], stem: str = "recall", notes: Sequence[str] = ()
) -> str:
    """Writes `recall.json`, the table `recall.md` and the curves `recall.png`.

    Args:
        folder: where.
        reports: by name, of one dataset and protocol.
        stem: name of the files without suffix.
        notes: paragraphs below the table and the line that explains it.

    Returns:
        Table and paragraphs, Markdown.
    """
    text = "\n\n".join([format_table(reports), EXPLANATION, *notes])
    with atomic_path(folder / f"{stem}.json") as path:
        path.write_text(json.dumps({name: asdict(report) for name, report in reports.items()}, indent=2) + "\n")
    with atomic_path(folder / f"{stem}.md") as path:
        path.write_text(text + "\n")
    recall_curves(folder / f"{stem}.png", reports)
    return text
