"""The fidelity report: what was measured of the artefacts of an export, as a table, as data and as a picture."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from export.fidelity.fidelity import Fidelity
from export.fidelity.picture import draw_fidelity
from keras_sare.utils.files import atomic_path

_UNKNOWN = "–"


def write_fidelity(folder: Path, rows: Sequence[Fidelity]) -> str:
    """Writes `fidelity.json`, the table `fidelity.md` and the picture `fidelity.png`.

    Args:
        folder: where.
        rows: of one `FidelityMeter`: the first is the Keras model, which the others are compared with.

    Returns:
        The table with what it was measured on, Markdown.

    Raises:
        ValueError: there are no rows, or they were measured in unlike ways.
    """
    text = format_fidelity(rows)
    with atomic_path(folder / "fidelity.json") as path:
        path.write_text(json.dumps({"rows": [dataclasses.asdict(row) for row in rows]}, indent=2) + "\n")
    with atomic_path(folder / "fidelity.md") as path:
        path.write_text(text + "\n")
    draw_fidelity(folder / "fidelity.png", rows)
    return text


def format_fidelity(rows: Sequence[Fidelity]) -> str:
    """Lays rows out in Markdown; `write_fidelity` says which.

    Returns:
        Text without a trailing line break.

    Raises:
        ValueError: there are no rows, or they were measured in unlike ways.
    """
    _check(rows)
    first = rows[0]
    recalls = [f"recall@{n}" for n in first.ns] + (["drop, points"] if first.ns else [])
    headings = ["artefact", "dim", "MB", "of Keras", "cosine min", "median", *recalls]
    headings += ["1 image, ms", "of Keras", "8 images, ms", "of Keras", "peak MB"]
    lines = [headings, ["---", *("---:" for _ in headings[1:])], *(_cells(row, first) for row in rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{table}\n\n{_explanation(first)}"


def _check(rows: Sequence[Fidelity]) -> None:
    if not rows:
        raise ValueError("`rows` must hold at least the row of the Keras model. Received: none")
    for row in rows[1:]:
        if not row.is_comparable(rows[0]):
            raise ValueError(
                "`rows` must have been measured on the same photos, at the same size, with as many threads. "
                f"Received: {rows[0]}, {row}"
            )


def _cells(row: Fidelity, first: Fidelity) -> list[str]:
    drop = [f"{row.recall_drop:.2f}"] if row.recall_drop is not None else []
    return [
        row.artefact,
        str(row.dim),
        f"{row.bytes / 1e6:.1f}",
        f"{100 * row.bytes / first.bytes:.1f} %",
        f"{row.cosine_min:.6f}",
        f"{row.cosine_median:.6f}",
        *(f"{recall:.3f}" for recall in row.recalls),
        *drop,
        *_time(row.latency_1, first.latency_1),
        *_time(row.latency_8, first.latency_8),
        f"{row.peak_memory / 1e6:.0f}",
    ]


def _time(seconds: float | None, reference: float | None) -> list[str]:
    """Milliseconds and their ratio to the Keras model's: machines are not always equally fast."""
    if seconds is None:
        return [_UNKNOWN, _UNKNOWN]
    return [f"{1000 * seconds:.1f}", f"{seconds / reference:.2f}" if reference else _UNKNOWN]


def _explanation(first: Fidelity) -> str:
    height, width = first.image_size
    recall = " Recall: descriptors of queries and database by the same artefact." if first.ns else ""
    return (
        f"Measured on {first.data}. Cosine: of each image's descriptor to the Keras model's, or to its first numbers "
        f"where `dim` is smaller.{recall} Latency: one image or a batch of 8, {height} x {width} pixels, "
        f"{first.threads} CPU threads, median of 5 calls. Peak memory: of a process of its own, after loading and one "
        "image. MB: 10^6 bytes."
    )
