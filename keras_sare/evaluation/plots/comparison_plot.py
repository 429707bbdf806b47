"""A picture of training runs side by side."""

import os
from collections.abc import Mapping, Sequence
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from keras_sare.evaluation.comparisons.run_comparison import (
    FinishedRun,
    by_kind,
    check_runs,
    one_per_seed,
    with_common_names,
)
from keras_sare.evaluation.plots.pictures import MARKERS, NEUTRAL, save_figure

# Okabe and Ito's palette, told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_WIDTH = 0.7


def draw_comparison(path: str | os.PathLike[str], runs: Sequence[FinishedRun]) -> None:
    """Draws recall@1 of each kind of run: a point for each seed, a bar at their mean, a line for the untrained model.

    Args:
        path: PNG file to write; it appears whole or not at all.
        runs: of any kinds and seeds.

    Raises:
        ValueError: there is no run, or they were not evaluated in the same way.
    """
    runs = with_common_names(runs)
    check_runs(runs)
    panels = len(runs[0].protocols())
    figure = Figure(figsize=(2.4 + 1.5 * panels * max(3, len(by_kind(runs))), 4.6), layout="constrained")
    for protocol, axes in enumerate(figure.subplots(1, panels, squeeze=False)[0]):
        _draw_protocol(axes, runs, protocol)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save_figure(figure, path)


def _draw_protocol(axes: Axes, runs: Sequence[FinishedRun], protocol: int) -> None:
    kinds = by_kind(runs)
    first = runs[0].protocols()[protocol]
    baseline, *models = first

    def recalls(chosen: Sequence[FinishedRun], model: str) -> list[float]:
        return [100 * run.protocols()[protocol][model].at(1) for run in chosen]

    before = mean(recalls(one_per_seed(runs), baseline))
    axes.axhline(before, color=NEUTRAL, linestyle="--", linewidth=1.5, label=f"{baseline}, mean")
    axes.annotate(f"{before:.1f}", (-0.5, before), (4, 4), textcoords="offset points", fontsize=9, color=NEUTRAL)
    width = _WIDTH / max(1, len(models))
    for i, model in enumerate(models):
        left = (i - len(models) / 2) * width
        values = {x + left: recalls(chosen, model) for x, chosen in enumerate(kinds.values())}
        _draw_model(axes, values, width, (_COLOURS[i % len(_COLOURS)], MARKERS[i % len(MARKERS)]), model)
    axes.set_title(f"{first[baseline].dataset}\n{first[baseline].protocol}", fontsize=11, loc="left")
    axes.set_xticks(range(len(kinds)), labels=list(kinds))
    axes.set_xlim(-0.5, len(kinds) - 0.5)
    axes.set_ylabel("recall@1")
    axes.yaxis.set_major_formatter(PercentFormatter())
    axes.margins(y=0.15)
    axes.grid(axis="y", color="#d0d7de", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_model(
    axes: Axes, values: Mapping[float, Sequence[float]], width: float, style: tuple[str, str], label: str
) -> None:
    """Draws the values of one model: by the left end of their column."""
    colour, marker = style
    xs: list[float] = []
    ys: list[float] = []
    for left, column in values.items():
        xs += [left + width * (0.1 + 0.8 * (j + 0.5) / len(column)) for j in range(len(column))]
        ys += column
        middle = mean(column)
        axes.hlines(middle, left + 0.1 * width, left + 0.9 * width, color=colour, linewidth=2.5)
        axes.annotate(
            f"{middle:.1f}", (left + width / 2, max(column)), (0, 6), textcoords="offset points",
            ha="center", fontsize=9, color=colour,
        )  # fmt: skip
    axes.scatter(xs, ys, s=28, c=colour, marker=marker, alpha=0.75, label=label)
