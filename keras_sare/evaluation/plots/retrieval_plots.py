"""Pictures of an evaluation of image retrieval, as PNG files."""

import os
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from keras_sare.evaluation.plots.pictures import COLOURS, MARKERS, save_figure
from keras_sare.evaluation.retrieval_report import Reports, check_same_evaluation

Curves = Mapping[str, Mapping[int, float]]
"""Mean average precision, 0 to 1, by name of the method, then by number of components."""

# Okabe and Ito's palette, told apart by colour-blind readers too.
_LEAST_BAR_HEIGHT = 0.26


def dimension_curves(path: str | os.PathLike[str], curves: Curves, title: str = "") -> None:
    """Draws mAP over the number of components of a descriptor, one line per method, for example per whitening.

    Args:
        path: PNG file to write; it appears whole or not at all.
        curves: by name of the line, mAP (0 to 1) by number of components.
        title: above the picture: dataset and protocol.

    Raises:
        ValueError: there is no curve, or an empty one.
    """
    if not curves or not all(curves.values()):
        raise ValueError(f"`curves` must hold at least one line with at least one point. Received: curves={curves}")
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, points) in enumerate(curves.items()):
        dimensions = sorted(points)
        values = [100 * points[d] for d in dimensions]
        axes.plot(
            dimensions,
            values,
            label=f"{name}: {values[-1]:.1f} at {dimensions[-1]}",
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=6,
            linewidth=2,
        )
    axes.set_xscale("log", base=2)
    ticks = sorted({d for points in curves.values() for d in points})
    axes.set_xticks(ticks, labels=[str(d) for d in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("components of the descriptor")
    _finish(axes, title)
    axes.yaxis.set_major_formatter(PercentFormatter())
    axes.set_ylabel("mAP")
    axes.grid(color="#d0d7de", linewidth=0.8)
    # Curves of few queries go up and down: no corner of the picture is sure to be free.
    figure.legend(loc="outside lower center", ncols=min(2, len(curves)), frameon=False)
    save_figure(figure, path)


def retrieval_bars(path: str | os.PathLike[str], reports: Reports) -> None:
    """Draws the mAP of methods side by side, a panel for each protocol.

    Args:
        path: PNG file to write; it appears whole or not at all.
        reports: name of each bar and its report by protocol.

    Raises:
        ValueError: there is no report, or the methods were not measured on the same thing.
    """
    check_same_evaluation(reports)
    protocols = list(next(iter(reports.values())))
    height = 1.2 + _LEAST_BAR_HEIGHT * 1.4 * len(reports)
    figure = Figure(figsize=(2.2 + 2.6 * len(protocols), height), layout="constrained")
    panels = figure.subplots(1, len(protocols), sharey=True, squeeze=False)[0]
    for axes, protocol in zip(panels, protocols, strict=True):
        values = [100 * each[protocol].mean_average_precision for each in reports.values()]
        colours = [COLOURS[i % len(COLOURS)] for i in range(len(values))]
        bars = axes.barh(range(len(values)), values, color=colours, height=0.72)
        axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=9)
        axes.set_xlim(0, 112)
        axes.set_xticks((0, 50, 100))
        axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
        axes.set_yticks(range(len(reports)), labels=list(reports))
        axes.grid(axis="x", color="#d0d7de", linewidth=0.8)
        _finish(axes, f"mAP, {protocol}")
    panels[0].invert_yaxis()
    first = next(iter(reports.values()))[protocols[0]]
    figure.suptitle(f"{first.dataset}: {first.queries} queries, {first.database} images", fontsize=11)
    save_figure(figure, path)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
