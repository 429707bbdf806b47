"""SeqSLAM: the photos of a walk as a straight line through their similarities to another walk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_sare.utils.arguments import plain_arguments

SPEEDS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Photos of the traversal that go by from one photo of the walk to the next."""


@dataclass(frozen=True, eq=False)
class LineMatches:
    """Which photo of a traversal each of F photos shows.

    Attributes:
        rows: int64 [F], numbers of photos of the traversal.
        scores: float64 [F], mean similarity along the best line, in standard deviations around it.
        margins: float64 [F], how much more that is than along the best line to a photo farther away than `contrast`.
    """

    rows: np.ndarray
    scores: np.ndarray
    margins: np.ndarray


@plain_arguments
def match_traversal(
    similarities: np.ndarray,
    length: int = 11,
    speeds: Sequence[float] = SPEEDS,
    contrast: int = 21,
    both_ways: bool = True,
) -> LineMatches:
    """Matches photos of a walk to a traversal of the same way: SeqSLAM.

    Milford, Wyeth, "SeqSLAM: visual route-based navigation for sunny summer days and stormy winter nights", ICRA 2012:
    similarities of each photo are brought to mean 0 and deviation 1 among the photos around each in the traversal
    (section III-B, local contrast enhancement), and summed along straight lines of constant speed (III-C). Here the
    lines are centred on the photo that is asked for, and what of them is outside of the traversal counts as the mean.
    For a map that is no traversal in order, see `track_places`.

    Args:
        similarities: [F, N] of each photo of the walk to each of the traversal, both in order; array or memory map, of
            which `length` rows are looked at together.
        length: photos of the walk in a line, at most.
        speeds: of the lines, photos of the traversal a photo of the walk.
        contrast: photos of the traversal among which similarities are compared.
        both_ways: whether the walk may go against the traversal.

    Raises:
        ValueError: shapes are others, or a value is out of range.
    """
    if np.ndim(similarities) != 2 or not np.shape(similarities)[1]:
        raise ValueError(f"`similarities` must be [F, N]. Received: similarities.shape={np.shape(similarities)}")
    if length < 1 or contrast < 2 or not speeds or min(speeds) <= 0:
        raise ValueError(
            "`length` must be positive, `contrast` 2 or more, and `speeds` positive. "
            f"Received: length={length}, contrast={contrast}, speeds={speeds}"
        )
    slopes = [*speeds, *(-speed for speed in speeds if both_ways)]
    found = [
        _best(_along_lines(similarities, photo, length, slopes, contrast), contrast)
        for photo in range(len(similarities))
    ]
    rows, scores, margins = np.array(found).reshape(-1, 3).T
    return LineMatches(rows.astype(np.int64), scores, margins)


def _along_lines(
    similarities: np.ndarray, photo: int, length: int, slopes: Sequence[float], contrast: int
) -> np.ndarray:
    """Of the best line through each photo of the traversal: [N]."""
    before = (length - 1) // 2
    around = range(max(photo - before, 0), min(photo + length - before, len(similarities)))
    enhanced = {other: _enhanced(np.asarray(similarities[other], np.float64), contrast) for other in around}
    best = np.full(np.shape(similarities)[1], -np.inf)
    for slope in slopes:
        total = np.zeros_like(best)
        for other, row in enhanced.items():
            _add_shifted(total, row, round(slope * (other - photo)))
        np.maximum(best, total / len(enhanced), out=best)
    return best


def _add_shifted(total: np.ndarray, row: np.ndarray, shift: int) -> None:
    if abs(shift) >= len(row):
        return
    if shift >= 0:
        total[: len(row) - shift] += row[shift:]
    else:
        total[-shift:] += row[:shift]


def _enhanced(row: np.ndarray, contrast: int) -> np.ndarray:
    """Each against those around it, itself included."""
    starts = np.clip(np.arange(len(row)) - contrast // 2, 0, max(len(row) - contrast, 0))
    ends = np.minimum(starts + contrast, len(row))
    sums = [np.concatenate([[0.0], np.cumsum(row**power)]) for power in (1, 2)]
    mean, square = ((one[ends] - one[starts]) / (ends - starts) for one in sums)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return np.where(deviation > 1e-6, (row - mean) / np.maximum(deviation, 1e-6), 0.0)


def _best(scores: np.ndarray, contrast: int) -> tuple[int, float, float]:
    best = int(scores.argmax())
    others = np.delete(scores, np.arange(max(best - contrast, 0), min(best + contrast + 1, len(scores))))
    return best, float(scores[best]), float(scores[best] - others.max()) if len(others) else np.nan
