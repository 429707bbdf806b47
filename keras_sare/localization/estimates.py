"""Where a photo was taken, from the candidates that a search found: those that agree about the place."""

from dataclasses import dataclass

import numpy as np

from keras_sare.utils.arguments import plain_arguments

_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Estimates:
    """Estimated positions of Q photos, and what speaks for them.

    Attributes:
        positions: float64 [Q, 2 or 3], metres as those of the candidates; NaN where a photo has no candidate.
        best: int64 [Q], the most similar of the candidates that agree; -1 where a photo has none.
        scores: float64 [Q], its cosine similarity.
        margins: float64 [Q], how much more similar it is than the best candidate elsewhere, or than the last candidate
            where all agree.
        support: float64 [Q], share of the candidates' weights that agree, in (0, 1].
    """

    positions: np.ndarray
    best: np.ndarray
    scores: np.ndarray
    margins: np.ndarray
    support: np.ndarray

    @property
    def features(self) -> np.ndarray:
        """What `Calibration` judges by, float64 [Q, 3]: score, margin and support; 0 where there is no candidate."""
        return np.nan_to_num(np.stack([self.scores, self.margins, self.support], axis=1))


@plain_arguments
def estimate_positions(
    scores: np.ndarray, positions: np.ndarray, radius: float = 25.0, temperature: float = 0.02
) -> Estimates:
    """Estimates where photos were taken.

    A candidate weighs exp((its score - the photo's best score) / temperature). The place is around the candidate with
    the most weight within `radius`, itself included; the position is the weighted mean there. Where several have the
    same weight around them, it is the most similar.

    Args:
        scores: [Q, k] cosine similarities of the candidates of each photo, in falling order; NaN fills up where a
            photo has fewer than k.
        positions: [Q, k, 2 or 3] their positions, metres.
        radius: metres within which two candidates agree.
        temperature: how fast weights fall with similarity.

    Raises:
        ValueError: shapes do not agree, or `radius` or `temperature` is not positive.
    """
    scores = np.asarray(scores, np.float64)
    positions = np.asarray(positions, np.float64)
    if scores.ndim != 2 or positions.ndim != 3 or positions.shape[:2] != scores.shape or not scores.shape[1]:
        raise ValueError(
            "`scores` must be [Q, k] and `positions` [Q, k, 2 or 3], of one candidate at least. "
            f"Received: scores.shape={scores.shape}, positions.shape={positions.shape}"
        )
    if not radius > 0 or not temperature > 0:
        raise ValueError(
            f"`radius` and `temperature` must be positive. Received: radius={radius}, temperature={temperature}"
        )
    blocks = [
        _estimate(scores[start : start + _BLOCK], positions[start : start + _BLOCK], radius, temperature)
        for start in range(0, len(scores), _BLOCK)
    ]
    if not blocks:
        empty = np.zeros(0)
        return Estimates(np.zeros((0, positions.shape[2])), np.zeros(0, np.int64), empty, empty, empty)
    return Estimates(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _estimate(scores: np.ndarray, positions: np.ndarray, radius: float, temperature: float) -> tuple[np.ndarray, ...]:
    there = np.isfinite(scores)
    known = np.where(there, scores, -np.inf)
    top = np.maximum(known.max(axis=1, keepdims=True), -1.0)
    weights = np.exp((known - top) / temperature)
    placed = np.where(there[:, :, None], positions, 0.0)
    distances = np.linalg.norm(placed[:, :, None] - placed[:, None], axis=3)
    near = (distances <= radius) & there[:, :, None] & there[:, None]
    around = np.einsum("qij,qj->qi", near, weights)
    centre = around.argmax(axis=1)
    rows = np.arange(len(scores))
    agreeing = near[rows, centre]
    best = np.where(agreeing, known, -np.inf).argmax(axis=1)
    share = np.where(agreeing, weights, 0.0)
    total = share.sum(axis=1)
    found = total > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.einsum("qi,qid->qd", share, placed) / total[:, None]
        support = total / weights.sum(axis=1)
    others = np.where(agreeing, -np.inf, known).max(axis=1)
    last = np.where(there, known, np.inf).min(axis=1)
    score = np.where(found, known[rows, best], np.nan)
    margin = score - np.where(np.isfinite(others), others, last)
    return mean, np.where(found, best, -1), score, margin, support
