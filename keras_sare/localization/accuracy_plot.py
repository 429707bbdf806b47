"""A picture of how right answers are."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from keras_sare.evaluation.measures.numbers import precision_recall_area
from keras_sare.evaluation.plots.pictures import COLOURS, NEUTRAL, save_figure
from keras_sare.localization.accuracy import Accuracy
from keras_sare.localization.calibration import reliability


def draw_accuracy(path: str | os.PathLike[str], accuracy: Accuracy, title: str = "") -> None:
    """Draws the errors and, of a calibrated index, the reliability diagram and precision against recall.

    Args:
        path: PNG file to write; it appears whole or not at all.
        accuracy: of the answers.
        title: above the picture: the index and the photos.
    """
    calibrated = bool(np.isfinite(accuracy.answers.probability).any())
    figure = Figure(figsize=(4.2 * (3 if calibrated else 1) + 0.6, 4.2), layout="constrained")
    errors, *rest = figure.subplots(1, 3 if calibrated else 1, squeeze=False)[0]
    _draw_errors(errors, accuracy)
    if calibrated:
        probability = accuracy.answers.probability
        stated = np.isfinite(probability)
        _draw_reliability(rest[0], probability[stated], accuracy.right[stated])
        _draw_precision(rest[1], np.nan_to_num(probability), accuracy)
    for axes in (errors, *rest):
        axes.grid(color="#d0d7de", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def _draw_errors(axes: Axes, accuracy: Accuracy) -> None:
    errors = np.sort(accuracy.errors)
    there = np.isfinite(errors)
    # Errors of centimetres and of kilometres; one that is exactly 0 has no logarithm.
    axes.semilogx(np.maximum(errors[there], 0.1), ((1 + np.arange(len(errors))) / len(errors))[there], color=COLOURS[1])
    axes.axvline(accuracy.radius, color=NEUTRAL, linestyle="--", linewidth=1)
    axes.set_title(f"{accuracy.right.mean():.1%} within {accuracy.radius:g} m (dashed)", fontsize=10, loc="left")
    axes.set_xlabel("error of the position, metres")
    axes.set_ylabel("answers with this error or less")


def _draw_reliability(axes: Axes, probability: np.ndarray, right: np.ndarray) -> None:
    table = reliability(probability, right)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle="--", linewidth=1)
    axes.scatter(table[:, 0], table[:, 1], s=20 + 600 * table[:, 2], color=COLOURS[0], alpha=0.8)
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title("reliability; area: share of the answers", fontsize=10, loc="left")
    axes.set_xlabel("stated probability")
    axes.set_ylabel("answers that are right")


def _draw_precision(axes: Axes, probability: np.ndarray, accuracy: Accuracy) -> None:
    order = np.argsort(-probability, kind="stable")
    right = np.cumsum(accuracy.right[order])
    all_right = max(1, right[-1])
    axes.plot(right / all_right, right / (1 + np.arange(len(order))), color=COLOURS[2])
    known = accuracy.answers.known
    if known.any():
        recall = accuracy.right[known].sum() / all_right
        axes.scatter([recall], [accuracy.right[known].mean()], color=COLOURS[0], zorder=3)
    area = precision_recall_area(probability, accuracy.right, np.ones(len(order), np.int64))
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title(f"area {float(area):.3f}; dot: the {known.mean():.0%} that are known", fontsize=10, loc="left")
    axes.set_xlabel("right answers that are given")
    axes.set_ylabel("given answers that are right")
