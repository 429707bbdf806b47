"""Confidence intervals by resampling queries."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
SEED = 0
Statistic = Callable[[np.ndarray], np.ndarray]
_BATCH_NUMBERS = 1 << 21


def query_weights(count: int, seed: int = SEED) -> Iterator[np.ndarray]:
    """How often each query is in each resample: int64 [resamples, count], some at a time, `RESAMPLES` in all.

    Args:
        count: of the queries.
        seed: the same gives the same resamples, so that numbers of one evaluation go together.
    """
    rng = np.random.default_rng(seed)
    batch = max(1, _BATCH_NUMBERS // count)
    for start in range(0, RESAMPLES, batch):
        drawn = rng.integers(0, count, (min(batch, RESAMPLES - start), count))
        flat = drawn + count * np.arange(len(drawn))[:, None]
        yield np.bincount(flat.ravel(), minlength=drawn.size).reshape(drawn.shape)


def intervals(statistics: Mapping[str, Statistic], count: int, seed: int = SEED) -> dict[str, tuple[float, float]]:
    """The percentile intervals of numbers of all queries (Efron, 1979), at `LEVEL`.

    They take the queries as independent: of photos taken one after the other the true intervals are wider.

    Args:
        statistics: by name, each gives for weights of the queries, int64 [resamples, count], its numbers, [resamples].
        count: of the queries.
        seed: of the resamples, which are the same for all.
    """
    values: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for weights in query_weights(count, seed):
        for name, statistic in statistics.items():
            values[name].append(statistic(weights))
    return {name: _quantiles(np.concatenate(each)) for name, each in values.items()}


def _quantiles(values: np.ndarray) -> tuple[float, float]:
    # Where some are infinite (a query without a match), quantiles must not interpolate towards them.
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf").tolist()
    return low, high
