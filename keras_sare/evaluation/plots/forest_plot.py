"""A forest plot of the runs of a grid: what training gains by combination of settings, with intervals."""

import os
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_sare.evaluation.comparisons.grid_runs import MODELS, GridRun, by_combination, compare_combinations
from keras_sare.evaluation.comparisons.grid_tables import tables_of
from keras_sare.evaluation.plots.pictures import COLOURS, MARKERS, NEUTRAL, save_figure

_APART = 0.22
"""Of a row's height, between its models."""


def draw_forest(path: str | os.PathLike[str], runs: Sequence[GridRun], baseline: str) -> None:
    """Draws gains of recall@1 over off the shelf: a row for each combination, a panel for each table.

    Args:
        path: PNG file to write; it appears whole or not at all.
        runs: of any combinations and seeds, at least one that was measured.
        baseline: the combination whose name is marked.

    Raises:
        ValueError: runs were measured on different queries, or by different rules.
    """
    tables = tables_of(runs)
    combinations = list(by_combination(runs))
    longest = max(map(len, combinations))
    size = (1 + 0.075 * longest + 3.4 * len(tables), 1.8 + 0.5 * len(combinations))
    figure = Figure(figsize=size, layout="constrained")
    for table, axes in zip(tables, figure.subplots(1, len(tables), sharey=True, squeeze=False)[0], strict=True):
        _draw_table(axes, runs, table, baseline)
    labels = [f"{one} (baseline)" if one == baseline else one for one in combinations]
    figure.axes[0].set_yticks(range(len(combinations)), labels=labels)
    figure.axes[0].set_ylim(len(combinations) - 0.5, -0.5)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    save_figure(figure, path)


def _draw_table(axes: Axes, runs: Sequence[GridRun], table: str, baseline: str) -> None:
    rows = {name: i for i, name in enumerate(by_combination(runs))}
    axes.axvline(0, color=NEUTRAL, linewidth=1.2)
    for i, model in enumerate(MODELS):
        compared = compare_combinations(runs, table, model, baseline)
        if not compared:
            continue
        gains = [100 * one.gain.value for one in compared]
        below = [100 * max(0, one.gain.value - one.gain.low) for one in compared]
        above = [100 * max(0, one.gain.high - one.gain.value) for one in compared]
        heights = [rows[one.combination] + _APART * (i - 0.5) for one in compared]
        axes.errorbar(
            gains, heights, xerr=[below, above], fmt=MARKERS[i], color=COLOURS[i], capsize=3, markersize=5, label=model
        )
    axes.set_title(table, fontsize=10, loc="left", wrap=True)
    axes.set_xlabel("recall@1 over off the shelf, points")
    axes.grid(axis="x", color="#d0d7de", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
