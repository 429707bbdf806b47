"""Average precision and precision at k, the measures of image retrieval, equal to the public evaluation code."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_sare.evaluation.streamed_ranks import streamed_ranks
from keras_sare.utils.arguments import plain_arguments

DEFAULT_KS = (1, 5, 10)
"""The k at which the revisited benchmark reports mP@k."""

Labels = Sequence[np.ndarray]


@plain_arguments
def average_precisions(
    queries: np.ndarray,
    database: np.ndarray,
    positives: Labels,
    ignored: Labels,
    ks: Sequence[int] = DEFAULT_KS,
    dimensions: int | None = None,
    block_rows: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks the whole database for every query by inner product and measures the rankings.

    Equals `average_precisions_of_ranks` of a stable sort of the same float32 products, equal products by index, in
    bounded memory: see `streamed_ranks`.

    Args:
        queries: `[Q, D]` finite numbers, L2-normalised so that the inner product is the cosine.
        database: `[N, D]` finite numbers, L2-normalised, array or memory map.
        positives: for each query the database indices that count as right.
        ignored: for each query the database indices that count neither as right nor as wrong (junk).
        ks: numbers of images, at least 1, for precision at k.
        dimensions: compares only so many first components, both sides L2-normalised anew; None compares all as they
            are.
        block_rows: database rows at a time; by default as many as keep a block and its products near 64 MiB.

    Returns:
        Average precision of each query, float64 `[Q]`, and its precision at each k, float64 `[Q, len(ks)]`; NaN for
        queries without positives.

    Raises:
        ValueError: shapes, lengths or indices do not agree, or a descriptor is not finite.
    """
    protocols = {"": (positives, ignored)}
    return average_precisions_by_protocol(queries, database, protocols, ks, dimensions, block_rows)[""]


def average_precisions_by_protocol(
    queries: np.ndarray,
    database: np.ndarray,
    protocols: Mapping[str, tuple[Labels, Labels]],
    ks: Sequence[int] = DEFAULT_KS,
    dimensions: int | None = None,
    block_rows: int | None = None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Measures the same rankings under several protocols in one scan of the database.

    Args:
        queries: `[Q, D]`, as in `average_precisions`.
        database: `[N, D]`.
        protocols: name of each protocol, and its positives and ignored images.
        ks: numbers of images for precision at k.
        dimensions: how many components are compared, or None.
        block_rows: database rows at a time.

    Returns:
        For each protocol what `average_precisions` returns.

    Raises:
        ValueError: as in `average_precisions`.
    """
    for positives, ignored in protocols.values():
        _check_labels(positives, ignored, len(queries), len(database), ks)
    lists = [labels for both in protocols.values() for labels in both]
    labelled = [
        np.unique(np.concatenate([np.asarray(each[i], np.int64) for each in lists])) for i in range(len(queries))
    ]
    ranks = streamed_ranks(queries, database, labelled, dimensions, block_rows)
    measured = {}
    for name, (positives, ignored) in protocols.items():
        places = [np.sort(r[np.isin(mine, right)]) for r, mine, right in zip(ranks, labelled, positives, strict=True)]
        gone = [np.sort(r[np.isin(mine, junk)]) for r, mine, junk in zip(ranks, labelled, ignored, strict=True)]
        measured[name] = _measure(places, gone, positives, ks)
    return measured


@plain_arguments
def average_precisions_of_ranks(
    ranks: np.ndarray, positives: Labels, ignored: Labels, ks: Sequence[int] = DEFAULT_KS
) -> tuple[np.ndarray, np.ndarray]:
    """Measures given rankings, for example re-ranked ones, just as the public code does.

    The code is `compute_map` of the revisited Oxford and Paris benchmark (Radenovic et al., 2018, section 4,
    https://github.com/filipradenovic/revisitop) and of cnnimageretrieval-pytorch; its numbers are reproduced to the
    last bit.
    What one may not expect of it, and what is kept:

    * Ignored images are taken out before anything is measured: the images below move up.
    * A positive at rank r (from 0) with j positives above adds the mean of the precisions before and after it,
      j / r (1 at rank 0) and (j + 1) / (r + 1), divided by the number of positives. Those that a short ranking lacks
      add nothing.
    * Precision at k divides by the rank of the last positive found where that is less than k: a query whose three
      positives come first has precision 1 at 10.
    * An image that is both positive and ignored counts as positive, and as taken out for those below it.

    The C++ code of Oxford5k (`compute_ap.cpp`, Philbin et al., 2007) and the Python code of INRIA Holidays compute the
    same average precision, in other roundings; only an image that is both good and junk is lost to the former.

    Where no positive is found at all, the public code stops with an error; here average precision and precision are 0.

    Args:
        ranks: integers `[Q, n]`, for each query database indices, best first, each once; -1 is no image. n may be less
            than the size of the database. The public code's array is the transposed one.
        positives: for each query the database indices that count as right.
        ignored: for each query the database indices that count neither as right nor as wrong (junk).
        ks: numbers of images, at least 1, for precision at k.

    Returns:
        Average precision of each query, float64 `[Q]`, and its precision at each k, float64 `[Q, len(ks)]`; NaN for
        queries without positives.

    Raises:
        ValueError: shapes, lengths or indices do not agree.
    """
    if ranks.ndim != 2 or ranks.dtype.kind not in "iu":
        raise ValueError(
            "`ranks` must hold integers, [Q, n], one row for each query. "
            f"Received: ranks.shape={ranks.shape}, ranks.dtype={ranks.dtype}"
        )
    _check_labels(positives, ignored, len(ranks), None, ks)
    places = [np.flatnonzero(np.isin(row, right)) for row, right in zip(ranks, positives, strict=True)]
    gone = [np.flatnonzero(np.isin(row, junk)) for row, junk in zip(ranks, ignored, strict=True)]
    return _measure(places, gone, positives, ks)


def mean_over_queries(values: np.ndarray) -> np.ndarray:
    """Mean over the queries that have positives, summed in the public code's order.

    Args:
        values: float64 `[Q]` or `[Q, K]`, NaN where a query has no positive.

    Returns:
        float64, `[]` or `[K]`.

    Raises:
        ValueError: no query has a positive.
    """
    kept = values[~np.isnan(values).any(axis=tuple(range(1, values.ndim)))]
    if not len(kept):
        raise ValueError(
            "`positives` must give at least one query a database image. "
            f"Received: {len(values)} queries, none with a positive"
        )
    # A plain sum would add in another order.
    return np.add.accumulate(kept, axis=0)[-1] / len(kept)


def _check_labels(positives: Labels, ignored: Labels, queries: int, database: int | None, ks: Sequence[int]) -> None:
    end = "their number" if database is None else database - 1
    for name, lists in (("positives", positives), ("ignored", ignored)):
        if len(lists) != queries:
            raise ValueError(
                f"`{name}` must hold one array for each query. Received: {len(lists)} arrays, {queries} queries"
            )
        for query, indices in enumerate(lists):
            if len(indices) and not (np.min(indices) >= 0 and (database is None or np.max(indices) < database)):
                raise ValueError(
                    f"`{name}` must hold indices of database images, from 0 to {end}. "
                    f"Received: {name}[{query}] from {np.min(indices)} to {np.max(indices)}"
                )
    if any(k < 1 for k in ks):
        raise ValueError(f"`ks` must be at least 1. Received: ks={tuple(ks)}")


def _measure(
    places: Sequence[np.ndarray], gone: Sequence[np.ndarray], positives: Labels, ks: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Both measures of each query, from the ascending ranks of its positives and of its ignored images."""
    averages = np.full(len(places), np.nan)
    precisions = np.full((len(places), len(ks)), np.nan)
    for query, mine in enumerate(positives):
        if len(mine):
            ranks = places[query] - np.searchsorted(gone[query], places[query])
            averages[query] = _average_precision(ranks, len(mine))
            precisions[query] = [_precision(ranks + 1, k) for k in ks]
    return averages, precisions


def _average_precision(ranks: np.ndarray, positives: int) -> float:
    above = np.arange(len(ranks))
    before = np.where(ranks == 0, 1.0, above / np.maximum(ranks, 1))
    after = (above + 1) / (ranks + 1)
    # One by one, and each as the public code writes it: a pairwise sum would differ in the last bits.
    steps = (before + after) * (1.0 / positives) / 2.0
    return float(np.add.accumulate(steps)[-1]) if len(steps) else 0.0


def _precision(places: np.ndarray, k: int) -> float:
    if not len(places):
        return 0.0
    shown = min(int(places.max()), k)
    return np.count_nonzero(places <= shown) / shown
