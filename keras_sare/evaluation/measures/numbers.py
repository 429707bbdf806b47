"""Numbers made of the answers to all queries, beside recall: how good, how far off, how well it knows its errors.

Each takes weights of the queries, int [..., Q], so that one bootstrap gives the intervals of all of them.
"""

from collections.abc import Sequence

import numpy as np

MAP_NS = (1, 5, 10, 20)
"""The N at which mapillary_sls reports mAP@N."""


def average_precisions_at(matches: np.ndarray, positives: Sequence[np.ndarray], ns: Sequence[int]) -> np.ndarray:
    """Average precision of each query among its first N matches (Warburg et al., CVPR 2020, and its code).

    The mean, over the first min(N, positives) places, of the precision at every match that is right. A query without a
    positive has 0.

    Args:
        matches: database images, int64 [Q, k], nearest first, each at most once; -1 is never right.
        positives: of each query.
        ns: numbers from 1 to k.

    Returns:
        float64 [Q, len(ns)].
    """
    right = np.stack([np.isin(row, mine) & (row >= 0) for row, mine in zip(matches, positives, strict=True)])
    precisions = np.cumsum(right, axis=1) / np.arange(1, matches.shape[1] + 1)
    sums = np.cumsum(np.where(right, precisions, 0.0), axis=1)[:, np.array(ns) - 1]
    counts = np.array([len(mine) for mine in positives])
    return np.asarray(sums / np.maximum(1, np.minimum(counts[:, None], ns)))


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of values [Q] under weights [..., Q]; infinite where an infinite one has a weight."""
    finite = np.isfinite(values)
    # Zero times infinity is no number. As float64, for which there is a fast matrix product.
    means = weights.astype(np.float64) @ np.where(finite, values, 0.0) / weights.sum(axis=-1)
    return np.where((weights[..., ~finite] > 0).any(axis=-1), np.inf, means)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median of values [Q] under whole weights [..., Q]: of an even number, the mean of the middle two."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[..., order], axis=-1)
    total = reached[..., -1:]
    middle = [(reached > (total - 1) // 2).argmax(axis=-1), (reached > total // 2).argmax(axis=-1)]
    return np.asarray((values[order][middle[0]] + values[order][middle[1]]) / 2)


def precision_recall_area(scores: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the curve of precision against recall, where answers of lower scores are refused.

    Recall is the share of the right answers that are given, so the area says whether the score tells right answers from
    wrong ones, and not how many are right. It is the sum of steps (average precision), without interpolation; answers
    of one score are given or refused together.

    Args:
        scores: of the first match of each query, [Q].
        hits: whether it is right, bool [Q].
        weights: int [..., Q].

    Returns:
        0 to 1, [...]; 0 where nothing is right.
    """
    given, right = _cumulated(scores, hits, weights)
    steps = np.diff(right, axis=-1, prepend=0)
    precision = right / np.maximum(1, given)
    return np.asarray((precision * steps).sum(axis=-1) / np.maximum(1, right[..., -1]))


def recall_at_full_precision(
    scores: np.ndarray, hits: np.ndarray, answerable: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Share of the queries that are answered rightly above the score of the best wrong answer.

    Args:
        scores: of the first match of each query, [Q].
        hits: whether it is right, bool [Q].
        answerable: whether the query has a positive, bool [Q]: others could not be answered.
        weights: int [..., Q].

    Returns:
        0 to 1, [...].
    """
    given, right = _cumulated(scores, hits, weights)
    faultless = np.where(given == right, right, 0).max(axis=-1)
    return np.asarray(faultless / np.maximum(1, weights @ answerable.astype(np.int64)))


def _cumulated(scores: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Answers given, and right ones among them, down to each score that occurs, [..., scores]."""
    order = np.argsort(-scores, kind="stable")
    falls = np.flatnonzero(np.append(scores[order][1:] != scores[order][:-1], True))
    given = np.cumsum(weights[..., order], axis=-1)[..., falls]
    return given, np.cumsum(weights[..., order] * hits[order], axis=-1)[..., falls]
