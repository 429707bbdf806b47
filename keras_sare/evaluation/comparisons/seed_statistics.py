"""What training runs with several seeds say of a setting, where both queries and seeds are a sample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from keras_sare.evaluation.verdict import paired_difference

LEVEL = 0.95
"""Of the intervals."""


@dataclass(frozen=True)
class Estimate:
    """A mean over queries and seeds.

    Attributes:
        value: the mean.
        low: of its 95 % interval.
        high: of its 95 % interval.
        p_value: how likely a mean so far from 0 is where the true one is 0.
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def interval(self) -> tuple[float, float]:
        """`low` and `high`."""
        return self.low, self.high


def estimate_mean(values: np.ndarray) -> Estimate:
    """Estimates a mean for other queries and other seeds than those that were taken.

    Queries and seeds are crossed random effects, as cases and readers are in medicine (Obuchowski and Rockette,
    Communications in Statistics 1995; degrees of freedom as Hillis, Statistics in Medicine 2007): the variance of the
    mean is that over queries plus that over seeds, less what both contain, and with few seeds that vary much the
    interval is as wide as Student's t for so few makes it. A bootstrap of three seeds cannot be: it draws ten different
    sets, and a sample of three shows two thirds of their variance. In simulations 93 to 96 % of the intervals of three
    seeds held the true mean, of two seeds 89 to 96 %. With one seed the variance over seeds is not known and left out.
    Queries are taken as independent: of photos taken one after the other the true interval is wider.

    Args:
        values: float [S, Q], of each seed and query.

    Raises:
        ValueError: there is no seed, or fewer than two queries.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not len(values) or values.shape[1] < 2:
        raise ValueError(
            f"`values` must be [S, Q] of at least one seed and two queries. Received: shape {values.shape}"
        )
    seeds, queries = values.shape
    mean = float(values.mean())
    of_queries = float(values.mean(axis=0).var(ddof=1)) / queries
    of_seeds = float(values.mean(axis=1).var(ddof=1)) / seeds if seeds > 1 else 0.0
    variance = max(of_queries + of_seeds - _of_both(values), of_queries, of_seeds)
    if not variance:
        return Estimate(mean, mean, mean, 0.0 if mean else 1.0)
    freedom = variance**2 / (of_queries**2 / (queries - 1) + of_seeds**2 / max(1, seeds - 1))
    error = math.sqrt(variance)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Estimate(mean, mean - half, mean + half, 2 * float(stdtr(freedom, -abs(mean) / error)))


def estimate_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Estimates how much better one way of training answers queries than another, paired by seed and query.

    Of one seed interval and p-value are those of `keras_sare.evaluation.verdict.paired_difference`, bootstrap and exact
    McNemar test, and say nothing of other seeds.

    Args:
        first: bool [S, Q], whether each query is answered rightly, by seed.
        second: the same of the other, after training with the same seeds.

    Raises:
        ValueError: shapes differ, or as of `estimate_mean`.
    """
    if first.shape != second.shape:
        raise ValueError(
            "`first` and `second` must be [S, Q] of the same seeds and queries. "
            f"Received: shapes {first.shape} and {second.shape}"
        )
    estimate = estimate_mean(first.astype(np.float64) - second)
    if len(first) > 1:
        return estimate
    paired = paired_difference(first[0], second[0])
    return Estimate(paired.difference, *paired.interval, paired.p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number: each below 0.05 is then beyond chance, all together at that level.

    Holm, Scandinavian Journal of Statistics 1979: the smallest counts times their number, the next times one less, and
    none less than one before it.

    Args:
        p_values: of several comparisons.

    Returns:
        The corrected ones in the same order, at most 1.
    """
    corrected = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def _of_both(values: np.ndarray) -> float:
    """The part of the mean's variance that the means over queries and those over seeds both contain."""
    seeds, queries = values.shape
    if seeds < 2:
        return 0.0
    left = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    return float((left**2).sum()) / ((seeds - 1) * (queries - 1)) / (seeds * queries)
