"""A picture of how a run goes: loss, validation, and where the time of each epoch went."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from keras_sare.evaluation.model_names import kept_name
from keras_sare.training.stage_timer import PARTS
from keras_sare.utils.files import atomic_path

# Okabe and Ito's palette, told apart by colour-blind readers too.
_VERMILION = "#D55E00"
_GREY = "#57606a"
_MEASURE_COLOURS = (_VERMILION, "#0072B2", "#009E73", "#CC79A7")
_PART_COLOURS = ("#E69F00", "#0072B2", "#56B4E9", "#F0E442", "#D55E00", "#009E73", "#CC79A7", "#999999")
_DPI = 150


def draw_training(
    path: str | os.PathLike[str], history: Sequence[dict[str, Any]], best_epoch: int | None = None
) -> None:
    """Draws the figures of a run.

    Args:
        path: PNG file to write; it appears whole or not at all.
        history: a row for each epoch from 0 on: `epoch`, `loss` (none or "" for epoch 0), `recall@N`, or `mAP` and
            `mP@k`, in 0..1, and seconds as `seconds`, of which `seconds_refresh` and so on name a part.
        best_epoch: the one that is kept, is marked; None marks none.

    Raises:
        ValueError: there is no row.
    """
    if not history:
        raise ValueError("`history` must have a row for at least one epoch. Received: none")
    figure = Figure(figsize=(7.5, 8.6), layout="constrained")
    measures, loss, seconds = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2.6))
    _draw_measures(measures, history, best_epoch)
    _draw_loss(loss, history)
    _draw_seconds(seconds, history)
    seconds.set_xlabel("epoch")
    seconds.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    seconds.set_xlim(-0.6, max(len(history) - 1, 1) + 0.6)
    for axes in (measures, loss, seconds):
        axes.grid(axis="y", color="#d0d7de", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _draw_measures(axes: Axes, history: Sequence[dict[str, Any]], best_epoch: int | None) -> None:
    epochs = [row["epoch"] for row in history]
    names = [name for name in history[-1] if name.startswith(("recall@", "mAP", "mP@"))]
    for name, colour, marker in zip(names, _MEASURE_COLOURS, "os^D", strict=False):
        values = [100 * row[name] for row in history]
        label = f"{name}: {values[0]:.1f} %"
        if best_epoch:
            label += f",\nkept {values[epochs.index(best_epoch)]:.1f} %"
        axes.plot(epochs, values, label=label, color=colour, marker=marker, markersize=4, linewidth=2)
    if best_epoch is not None:
        kept = kept_name(best_epoch, f"epoch {best_epoch}")
        axes.axvline(best_epoch, color=_GREY, linestyle="--", linewidth=1.2, label=f"kept: {kept}")
    axes.set_title("validation", fontsize=11, loc="left")
    axes.set_ylabel("queries found" if "mAP" not in names else "precision")
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    _place_legend(axes)


def _draw_loss(axes: Axes, history: Sequence[dict[str, Any]]) -> None:
    trained = [row for row in history if row.get("loss") not in (None, "")]
    axes.plot([r["epoch"] for r in trained], [r["loss"] for r in trained], color=_VERMILION, marker="o", markersize=4)
    axes.set_title("training", fontsize=11, loc="left")
    axes.set_ylabel("mean loss")


def _draw_seconds(axes: Axes, history: Sequence[dict[str, Any]]) -> None:
    epochs = [row["epoch"] for row in history]
    total = np.array([float(row["seconds"]) for row in history])
    parts = {part: np.array([float(row.get(f"seconds_{part}") or 0) for row in history]) for part in PARTS}
    parts["other"] = np.maximum(total - sum(parts.values()), 0)
    below = np.zeros(len(history))
    for (part, values), colour in zip(parts.items(), _PART_COLOURS, strict=True):
        share = values.sum() / max(total.sum(), 1e-9)
        axes.bar(epochs, values, 0.8, below, color=colour, label=f"{part.replace('_', ' ')} {100 * share:.0f} %")
        below += values
    axes.set_title("where the time went", fontsize=11, loc="left")
    axes.set_ylabel("seconds")
    _place_legend(axes)


def _place_legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9)
