"""Pictures of an evaluation: recall curves and a gallery of matches, as PNG files."""

import dataclasses
import os
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator, PercentFormatter
from PIL import Image

from keras_sare.evaluation.plots.pictures import (
    COLOURS,
    MARKERS,
    NEUTRAL,
    RIGHT,
    WRONG,
    Picture,
    open_picture,
    save_figure,
    save_photo_figure,
)
from keras_sare.evaluation.report import RecallReport, check_comparable

_COLUMN_INCHES = 3.2
_CAPTION_INCHES = 0.25
_LINE_INCHES = 0.14
_LINE_LENGTH = 46
_TITLE_LENGTH = 28
_TICKS = (1, 2, 3, 4, 5, 10, 20, 30, 50, 100)


@dataclasses.dataclass(frozen=True)
class Match:
    """The best match of a query under one model.

    Attributes:
        image: uint8 `[H, W, 3]` RGB, or the path of an image file.
        correct: whether it counts as found.
        distance: metres between the two positions; None where they are not known.
        caption: lines under the picture, for example its place and its file.
    """

    image: Picture
    correct: bool
    distance: float | None
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class GalleryRow:
    """A query and what two models, or one model before and after training, found for it.

    Attributes:
        query: uint8 `[H, W, 3]` RGB, or the path of an image file.
        before: best match of the first model.
        after: best match of the second model.
        caption: lines under the query, for example its place and its file.
    """

    query: Picture
    before: Match
    after: Match
    caption: str = ""


def recall_curves(path: str | os.PathLike[str], reports: Mapping[str, RecallReport]) -> None:
    """Draws recall@N over N, one line per report.

    Args:
        path: PNG file to write; it appears whole or not at all.
        reports: name of each line and its report.

    Raises:
        ValueError: there is no report, or the reports do not measure the same thing.
    """
    check_comparable(reports)
    first = next(iter(reports.values()))
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, report) in enumerate(reports.items()):
        axes.plot(
            report.ns,
            [100 * recall for recall in report.recalls],
            label=f"{name}: {100 * report.recalls[0]:.1f} % at N = {report.ns[0]}",
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            linewidth=2,
        )
    sizes = f"{first.queries} queries, {first.database} database images"
    axes.set_title(f"{first.dataset}: {sizes}\n{first.protocol}", fontsize=11, loc="left")
    axes.set_xlabel("N, number of retrieved images")
    axes.set_ylabel("queries found")
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    # The first few N matter most, and NetVLAD's N grow denser towards 1.
    axes.set_xscale("log")
    ticks = [n for n in _TICKS if first.ns[0] <= n <= first.ns[-1]]
    axes.set_xticks(ticks, labels=[str(n) for n in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(top=min(axes.get_ylim()[1], 101))
    axes.grid(color="#d0d7de", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", framealpha=0.95)
    save_figure(figure, path)


def match_gallery(
    path: str | os.PathLike[str],
    rows: Sequence[GalleryRow],
    titles: tuple[str, str, str] = ("query", "off the shelf", "trained"),
    longest_side: int = 360,
) -> None:
    """Draws queries beside their best matches by two models; a green frame is right, a red one wrong.

    Args:
        path: PNG file to write, of 2 MB at most; it appears whole or not at all.
        rows: what to show, one row each.
        titles: headings of the three columns.
        longest_side: pixels to which larger pictures are reduced.

    Raises:
        FileNotFoundError: a picture's file does not exist.
        ValueError: there are no rows, or an array is no RGB picture.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one row to draw. Received: none")
    cells = [
        [_load(picture, longest_side) for picture in (row.query, row.before.image, row.after.image)] for row in rows
    ]
    # A portrait photo is drawn smaller: a row is never higher than it takes for a square.
    shapes = [min(1.0, max(cell.height / cell.width for cell in pictures)) for pictures in cells]
    lines = max(caption.count("\n") + 2 for row in rows for caption in (row.caption, *_captions(row)))
    heights = [_COLUMN_INCHES * shape + _CAPTION_INCHES + _LINE_INCHES * lines for shape in shapes]
    figure = Figure(figsize=(3 * _COLUMN_INCHES + 0.6, sum(heights) + 0.6))
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    grid = figure.subplots(len(rows), 3, squeeze=False, gridspec_kw={"height_ratios": heights})
    for row, pictures, line in zip(rows, cells, grid, strict=True):
        _show(line[0], pictures[0], row.caption, NEUTRAL, frame=1.0)
        matches = zip((row.before, row.after), _captions(row), strict=True)
        for axes, picture, (match, caption) in zip(line[1:], pictures[1:], matches, strict=True):
            _show(axes, picture, caption, RIGHT if match.correct else WRONG, frame=4.0)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(textwrap.fill(title, _TITLE_LENGTH), fontsize=12, fontweight="bold", pad=8)
    save_photo_figure(figure, path)


def _show(axes: Axes, picture: Image.Image, caption: str, colour: str, frame: float) -> None:
    axes.imshow(np.asarray(picture))
    axes.set_anchor("N")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=colour, linewidth=frame)
    lines = [_shortened(line) for line in caption.split("\n")]
    # A name may hold a $, which would begin a formula.
    axes.set_xlabel("\n".join(lines), color=colour, fontsize=8.5, labelpad=4, parse_math=False)


def _captions(row: GalleryRow) -> list[str]:
    return [_caption(match) for match in (row.before, row.after)]


def _caption(match: Match) -> str:
    # The sign carries the verdict for readers who do not see red and green apart.
    sign = "\N{CHECK MARK} right" if match.correct else "\N{BALLOT X} wrong"
    verdict = sign if match.distance is None else f"{sign}, {_metres(match.distance)}"
    return "\n".join([verdict, match.caption] if match.caption else [verdict])


def _shortened(line: str) -> str:
    """Cut in the middle: names of files often differ at their ends."""
    if len(line) <= _LINE_LENGTH:
        return line
    half = (_LINE_LENGTH - 1) // 2
    return f"{line[:half]}\N{HORIZONTAL ELLIPSIS}{line[-half:]}"


def _metres(distance: float) -> str:
    if distance >= 1000:
        return f"{distance / 1000:.1f} km away"
    return f"{distance:.0f} m away" if distance >= 10 else f"{distance:.1f} m away"


def _load(picture: Picture, longest_side: int) -> Image.Image:
    image = open_picture(picture)
    image.thumbnail((longest_side, longest_side))
    return image
