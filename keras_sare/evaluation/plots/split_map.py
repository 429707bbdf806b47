"""A map of a data set: where its splits lie, and which photos are queries."""

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from keras_sare.evaluation.plots.pictures import COLOURS, NEUTRAL, save_figure

_DARKER = 0.55
"""Of the queries' colour, against the database's."""
_LONGER_SIDE = 9.0
_SHORTEST_SIDE = 3.5


def draw_splits(
    path: str | os.PathLike[str],
    groups: Mapping[str, Mapping[str, np.ndarray]],
    left_out: np.ndarray,
    unit: str = "m",
) -> None:
    """Draws the photos of each split: the database as dots, queries as crosses.

    Args:
        path: PNG file to write; it appears whole or not at all.
        groups: by split, then "database" and "queries": [n, 2], east and north.
        left_out: [n, 2], photos of no split; those far from all others are not shown.
        unit: of positions: "m", which are counted from the map's corner, or "degrees".
    """
    drawn = np.concatenate([points for sides in groups.values() for points in sides.values()])
    lowest = drawn.min(axis=0)
    span = np.ptp(drawn, axis=0)
    corner = lowest if unit == "m" else np.zeros(2)
    stretch = 1.0 if unit == "m" else 1 / max(np.cos(np.radians(lowest[1] + span[1] / 2)), 0.01)
    figure = Figure(figsize=_size(span[0], span[1] * stretch), layout="constrained")
    axes = figure.subplots()
    margin = 0.05 * span.max()
    near = np.all((left_out >= lowest - margin) & (left_out <= lowest + span + margin), axis=1)
    for (split, sides), colour in zip(groups.items(), (COLOURS[1], COLOURS[4], COLOURS[0]), strict=False):
        database, queries = (points - corner for points in (sides["database"], sides["queries"]))
        _scatter(axes, database, f"{split}, database: {len(database)}", (*to_rgb(colour), 0.5), "o")
        _scatter(axes, queries, f"{split}, queries: {len(queries)}", tuple(_DARKER * np.array(to_rgb(colour))), "x")
    if near.any():
        _scatter(axes, left_out[near] - corner, f"left out: {near.sum()}", NEUTRAL, ".")
    axes.set_aspect(stretch)
    axes.set_xlabel("metres east" if unit == "m" else "longitude")
    axes.set_ylabel("metres north" if unit == "m" else "latitude")
    axes.grid(color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(groups) + 1, frameon=False, fontsize=9, markerscale=2)
    save_figure(figure, path)


def _scatter(axes: Axes, points: np.ndarray, label: str, colour: str | tuple[float, ...], marker: str) -> None:
    axes.scatter(points[:, 0], points[:, 1], s=10, linewidths=0.8, color=[colour], marker=marker, label=label)


def _size(width: float, height: float) -> tuple[float, float]:
    """Inches of a picture of this shape."""
    scale = _LONGER_SIDE / max(width, height, 1e-9)
    return max(width * scale, _SHORTEST_SIDE) + 0.8, max(height * scale, _SHORTEST_SIDE) + 1.2
