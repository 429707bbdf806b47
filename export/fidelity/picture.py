"""The picture of a fidelity report: a line for each artefact, a panel for each thing measured."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.fidelity.fidelity import Fidelity
from export.formats import FORMATS
from keras_sare.evaluation.plots.pictures import COLOURS, NEUTRAL, save_figure

_PANEL_INCHES = 2.7
_LINE_INCHES = 0.46
_FONT = 9
_EXACT = 6
"""Nines of a cosine from which on float32 tells no difference."""

Panel = Callable[[Axes, Sequence[Fidelity]], None]


def draw_fidelity(path: str | os.PathLike[str], rows: Sequence[Fidelity]) -> None:
    """Draws size, cosine, recall, latency and memory of artefacts side by side.

    Args:
        path: PNG file to write; it appears whole or not at all.
        rows: the first is the Keras model, which the others are compared with.
    """
    save_figure(fidelity_figure(rows), path)


def fidelity_figure(rows: Sequence[Fidelity]) -> Figure:
    """Draws what `draw_fidelity` writes."""
    first = rows[0]
    panels: list[Panel] = [_draw_size, _draw_cosine, *([_draw_recall] if first.ns else []), _draw_latency, _draw_memory]
    longest = max(len(row.artefact) for row in rows)
    size = (0.4 + 0.09 * longest + _PANEL_INCHES * len(panels), 1.5 + _LINE_INCHES * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, draw in zip(grid, panels, strict=True):
        draw(axes, rows)
        for y in range(1, len(rows), 2):
            axes.axhspan(y - 0.5, y + 0.5, color="#f6f8fa", zorder=-1)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    grid[0].set_yticks(range(len(rows)), labels=[row.artefact for row in rows])
    for label, row in zip(grid[0].get_yticklabels(), rows, strict=True):
        label.set_color(_colour(row))
    grid[0].set_ylim(len(rows) - 0.5, -0.5)
    height, width = first.image_size
    how = f"images of {height} x {width}, {first.threads} CPU threads"
    figure.suptitle(f"Exports beside the Keras model: {first.data}; {how}", fontsize=11, x=0.01, ha="left")
    return figure


def _draw_size(axes: Axes, rows: Sequence[Fidelity]) -> None:
    labels = [f"{_short(row.bytes / 1e6)} MB, {100 * row.bytes / rows[0].bytes:.0f} %" for row in rows]
    _bars(axes, [row.bytes / 1e6 for row in rows], labels, [_colour(row) for row in rows])
    axes.set_title("size", fontsize=11, loc="left")


def _draw_cosine(axes: Axes, rows: Sequence[Fidelity]) -> None:
    """The nines of a cosine, 0.99 at 2: what differs is their number."""
    for y, row in enumerate(rows):
        least = _nines(row.cosine_min)
        median = _nines(row.cosine_median)
        axes.plot([least, median], [y, y], color=_colour(row), linewidth=2, alpha=0.5)
        axes.plot(median, y, "|", color=_colour(row), markersize=11, markeredgewidth=2)
        axes.plot(least, y, "o", color=_colour(row), markersize=7)
        # Cut, not rounded: 0.99996 is not 1.
        value = "1" if least == _EXACT else f"{math.floor(row.cosine_min * 1e5) / 1e5:.5f}"
        axes.annotate(value, (least, y), (0, 7), textcoords="offset points", ha="center", fontsize=_FONT)
    axes.set_xlim(-0.8, _EXACT + 0.8)
    axes.set_xticks(range(_EXACT + 1), labels=["0", ".9", ".99", ".999", ".9999", "", "1"], fontsize=_FONT - 1)
    axes.grid(axis="x", color="#d0d7de", linewidth=0.8)
    axes.set_title("cosine: ● least, | median", fontsize=11, loc="left")


def _draw_recall(axes: Axes, rows: Sequence[Fidelity]) -> None:
    changes = [-round(row.recall_drop or 0.0, 1) for row in rows]
    labels = [
        f"{100 * row.recalls[0]:.1f} %, {f'{change:+.1f}' if change else '±0'}"
        for row, change in zip(rows, changes, strict=True)
    ]
    _bars(axes, [100 * row.recalls[0] for row in rows], labels, [_colour(row) for row in rows])
    axes.set_title(f"recall@{rows[0].ns[0]}, change in points", fontsize=11, loc="left")


def _draw_latency(axes: Axes, rows: Sequence[Fidelity]) -> None:
    """Two bars in each line: one image by itself, and below it one of eight, paler."""
    reference = rows[0].latency_1
    colours = [_colour(row) for row in rows]
    labels = [f"{_short(1000 * row.latency_1)} ms, {row.latency_1 / reference:.2f}x" for row in rows]
    _bars(axes, [1000 * row.latency_1 for row in rows], labels, colours, (-0.18, 0.34))
    eighths = [125 * row.latency_8 if row.latency_8 else 0.0 for row in rows]
    labels = [f"{_short(value)} ms" if value else "–" for value in eighths]
    highest = axes.get_xlim()[1]
    _bars(axes, eighths, labels, [(colour, 0.45) for colour in colours], (0.18, 0.34))
    axes.set_xlim(0, max(highest, axes.get_xlim()[1]))
    axes.set_title("latency (paler: each of 8)", fontsize=11, loc="left")


def _draw_memory(axes: Axes, rows: Sequence[Fidelity]) -> None:
    values = [row.peak_memory / 1e6 for row in rows]
    _bars(axes, values, [f"{value:.0f} MB" for value in values], [_colour(row) for row in rows])
    axes.set_title("peak memory", fontsize=11, loc="left")


def _bars(
    axes: Axes,
    values: Sequence[float],
    labels: Sequence[str],
    colours: Sequence[Any],
    place: tuple[float, float] = (0.0, 0.6),
) -> None:
    """Draws a bar in each line; `place` is how far below its middle, and how high."""
    middle, height = place
    bars = axes.barh([y + middle for y in range(len(values))], values, color=colours, height=height)
    axes.bar_label(bars, labels, padding=3, fontsize=_FONT)
    axes.set_xlim(0, 1.75 * max(*values, 1e-9))  # Room for the labels.
    axes.set_xticks([])


def _colour(row: Fidelity) -> str:
    """Of the format that a row is of."""
    place = FORMATS[row.kind].colour
    return NEUTRAL if place is None else COLOURS[place]


def _short(value: float) -> str:
    """Three digits, or more where the number is whole."""
    return f"{value:.3g}" if value < 999.5 else f"{value:.0f}"


def _nines(cosine: float) -> float:
    return min(-math.log10(max(1 - cosine, 10.0**-_EXACT)), _EXACT)
