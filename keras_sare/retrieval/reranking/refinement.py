"""Coordinate refinement: the sides of boxes are moved one by one while that raises their scores."""

import numpy as np

from keras_sare.retrieval.reranking.integral_volumes import IntegralVolume

SMALLEST_SIDE = 2
"""Of a box, in positions."""
TINY = np.float32(1e-30)
# y1, x1, y2, x2, in the order in which the authors' code tries them: each side first up or left, then down or right.
_MOVES = np.array([[sign * (side == i) for i in range(4)] for side in (0, 2, 1, 3) for sign in (-1, 1)])


def refine(
    volume: IntegralVolume, boxes: np.ndarray, queries: np.ndarray, step: int, rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Moves the sides of each query's box to where its score is highest nearby.

    With each step, from `step` down to 1, up to `rounds` rounds are made. A round tries eight moves in turn and keeps
    each that raises the score; a round that keeps none is the last with its step. No side gets shorter than two
    positions.

    Args:
        volume: with the map loaded.
        boxes: int64 [Q, 4], where to begin; see `IntegralVolume.sums`.
        queries: float32 [Q, channels] of norm 1.
        step: largest move, in positions.
        rounds: largest number of rounds with each step.

    Returns:
        Boxes int64 [Q, 4] and their scores float32 [Q], never below those of the boxes given.
    """
    scores = box_scores(volume, boxes, queries)
    boxes = boxes.copy()
    for size in range(step, 0, -1) if rounds else ():
        tried = np.zeros(len(boxes), np.int64)
        active = np.arange(len(boxes))
        while len(active):
            # The next eight moves are scored at once, and the first that helps is made. Moves that were tried on the
            # box as it is would fail again: eight failures in a row mean a round without change.
            turns = tried[active, None] + np.arange(len(_MOVES))
            moved = boxes[active, None] + size * _MOVES[turns % len(_MOVES)]
            possible = (turns < rounds * len(_MOVES)) & _fits(volume, moved, boxes[active, None])
            owner, turn = np.nonzero(possible)
            found = np.full(turns.shape, -np.inf, np.float32)
            found[owner, turn] = box_scores(volume, moved[owner, turn], queries[active[owner]])
            better = found > scores[active, None]
            helped = better.any(axis=1)
            first = better[helped].argmax(axis=1)
            active = active[helped]
            boxes[active] = moved[helped, first]
            scores[active] = found[helped, first]
            tried[active] += first + 1
    return boxes, scores


def box_scores(volume: IntegralVolume, boxes: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Cosines between the approximate maxima of boxes and a query for each.

    Args:
        volume: with the map loaded.
        boxes: int64 [n, 4], see `IntegralVolume.sums`.
        queries: float32 [n, channels] of norm 1.

    Returns:
        float32 [n]; 0 for a box without activations.
    """
    maxima = volume.maxima(volume.sums(boxes))
    return np.vecdot(maxima, queries) / np.sqrt(np.maximum(np.vecdot(maxima, maxima), TINY))


def _fits(volume: IntegralVolume, moved: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Whether moved boxes lie in the map and have no side that the move made too short."""
    sides = moved[..., 2:] - moved[..., :2]
    long_enough = sides >= np.minimum(SMALLEST_SIDE, before[..., 2:] - before[..., :2])
    within = (moved[..., :2] >= 0) & (moved[..., 2:] <= (volume.height, volume.width))
    return np.asarray((long_enough & within).all(axis=-1))
