"""One HTML file of evaluations and runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_sare.evaluation.html.contents import Contents, side_by_side
from keras_sare.evaluation.html.frame import page
from keras_sare.evaluation.html.parts import Drawings
from keras_sare.evaluation.html.query_sections import Overlays, query_sections
from keras_sare.evaluation.html.recall_sections import (
    recall_sections,
    retrieval_sections,
    sweep_sections,
    verdict_sections,
)
from keras_sare.evaluation.html.run_sections import configuration_sections, time_sections, training_sections
from keras_sare.evaluation.html.thumbnails import Thumbnails
from keras_sare.evaluation.report import check_comparable
from keras_sare.utils.files import atomic_path

PHOTO_BYTES = 6_000_000
"""Of all pictures in a page, which stays below 10 MB with them."""


def write_report(
    path: Path, contents: Sequence[Contents], overlays: Overlays | None = None, orientation: str = "upright"
) -> list[dict[str, Any]]:
    """Writes a page of one or several evaluations or runs, which needs no network.

    Args:
        path: the HTML file, replaced as a whole.
        contents: of each folder.
        overlays: pictures of what a model looks at, for each query that is shown.
        orientation: how photos are read, "upright" or "stored".

    Returns:
        The Vega-Lite specifications that are in the page.

    Raises:
        ImportError: the extra `report` is not installed.
        ValueError: the folders' recalls do not measure the same thing.
    """
    all_contents = side_by_side(contents)
    reports = {name: report for one in all_contents for name, report in one.reports.items()}
    if reports:
        check_comparable(reports)
    drawings = Drawings()
    thumbnails = Thumbnails(PHOTO_BYTES, orientation)
    sections = [
        *recall_sections(all_contents, drawings),
        *verdict_sections(all_contents, drawings),
        *retrieval_sections(all_contents),
        *sweep_sections(all_contents, drawings),
        *training_sections(all_contents, drawings),
        *time_sections(all_contents, drawings),
        *query_sections(all_contents, drawings, thumbnails, overlays),
        *configuration_sections(all_contents),
    ]
    names = ", ".join(one.name for one in all_contents)
    with atomic_path(path) as file:
        file.write_text(page(f"Place recognition: {names}", sections, drawings.specifications), encoding="utf-8")
    return drawings.specifications
