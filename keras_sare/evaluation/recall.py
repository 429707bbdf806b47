"""Recall@N, the measure of place recognition."""

import logging
from collections.abc import Sequence

import numpy as np

from keras_sare.evaluation.measures.ranking import Ranking, rank
from keras_sare.evaluation.report import RecallReport
from keras_sare.utils.arguments import plain_arguments

logger = logging.getLogger(__name__)

DEFAULT_NS = (1, 2, 3, 4, 5, *range(10, 101, 5))
"""The N at which NetVLAD's test reports recall."""


@plain_arguments
def evaluate(
    query_descriptors: np.ndarray,
    database_descriptors: np.ndarray,
    positives: Sequence[np.ndarray],
    *,
    protocol: str = "recall@N",
    dataset: str = "places",
    ns: Sequence[int] = DEFAULT_NS,
    exclude: Sequence[np.ndarray] | None = None,
    groups: np.ndarray | None = None,
) -> tuple[RecallReport, np.ndarray]:
    """Searches the database for every query and measures recall@N (NetVLAD, section 5.1, "Evaluation metric").

    Args:
        query_descriptors: `[Q, D]`, L2-normalised.
        database_descriptors: `[N, D]`, L2-normalised, array or memory map.
        positives: for each query the database indices that count as found, for example all within 25 m:
            `dataset.positives(25)` of a `keras_sare.datasets.PlaceDataset`.
        protocol: name of the rule behind `positives` and `exclude`, for the report: `dataset.protocol(25)`.
        dataset: name of the dataset and split, for the report.
        ns: the N of recall@N; those above the database size are dropped.
        exclude: for each query the database indices that must not be retrieved, for example those of its own traversal.
            They are no positives either.
        groups: int64 `[N]`; of the database images of one group only the nearest is retrieved, for example of the
            cut-outs of a panorama.

    Returns:
        The report and the predictions, int64 `[Q, max(ns)]`: database indices, nearest first, -1 where
        `exclude` or `groups` leave a query with fewer candidates.

    Raises:
        ValueError: shapes, lengths or indices do not agree, or no query has a positive.
    """
    kept_ns = measured_ns(ns, len(database_descriptors))
    _check_indices("positives", positives, len(query_descriptors), len(database_descriptors))
    if exclude is not None:
        _check_indices("exclude", exclude, len(query_descriptors), len(database_descriptors))
    ranking = rank(query_descriptors, database_descriptors, kept_ns[-1], exclude, groups)
    report = recall_report(
        ranking, remaining(positives, exclude), len(database_descriptors), kept_ns, protocol=protocol, dataset=dataset
    )
    return report, ranking.indices


def measured_ns(ns: Sequence[int], size: int) -> list[int]:
    """The N of recall@N that a database of some size allows, rising.

    Raises:
        ValueError: it allows none of them, or one is below 1.
    """
    kept_ns = sorted({int(n) for n in ns if n <= size})
    if not kept_ns or kept_ns[0] < 1:
        raise ValueError(f"`ns` must hold numbers from 1 to the database size, {size}. Received: ns={tuple(ns)}")
    return kept_ns


def remaining(positives: Sequence[np.ndarray], exclude: Sequence[np.ndarray] | None) -> Sequence[np.ndarray]:
    """The positives of each query that are not excluded."""
    if exclude is None:
        return positives
    return [np.setdiff1d(mine, excluded) for mine, excluded in zip(positives, exclude, strict=True)]


def recall_report(
    ranking: Ranking, positives: Sequence[np.ndarray], size: int, ns: Sequence[int], *, protocol: str, dataset: str
) -> RecallReport:
    """Measures recall@N of what a search found; see `evaluate`.

    Args:
        ranking: of at least the largest N.
        positives: of each query, less the excluded ones.
        size: number of database images.
        ns: as `measured_ns` gives them.
        protocol: as of `evaluate`.
        dataset: as of `evaluate`.
    """
    return RecallReport(
        protocol=protocol,
        dataset=dataset,
        queries=len(positives),
        queries_without_positive=_count_empty(positives),
        database=size,
        ns=tuple(ns),
        recalls=tuple(recall_at(ranking.indices, positives, ns).tolist()),
    )


@plain_arguments
def recall_at(predictions: np.ndarray, positives: Sequence[np.ndarray], ns: Sequence[int]) -> np.ndarray:
    """Measures the share of queries with at least one positive among their first N predictions.

    A query without any positive counts as a miss at every N, as in NetVLAD's `recallAtN`, so the recall of such a
    dataset cannot reach 1; their number is logged as a warning.

    Args:
        predictions: integers `[Q, k]`, database indices, nearest first; -1 is never a hit.
        positives: `Q` arrays of database indices.
        ns: numbers between 1 and k.

    Returns:
        Recalls, float64 `[len(ns)]`, between 0 and 1.

    Raises:
        ValueError: lengths or ranges do not agree, or no query has a positive.
    """
    if predictions.ndim != 2 or len(predictions) != len(positives):
        raise ValueError(
            "`predictions` must be [Q, k] with one row for each of the Q `positives`. "
            f"Received: predictions.shape={predictions.shape}, len(positives)={len(positives)}"
        )
    depth = predictions.shape[1]
    if not len(ns) or min(ns) < 1 or max(ns) > depth:
        raise ValueError(
            f"`ns` must hold numbers between 1 and the {depth} predictions of a query; search deeper or lower `ns`. "
            f"Received: ns={tuple(ns)}"
        )
    _warn_about_empty(positives)
    return (first_ranks(predictions, positives)[:, None] < np.asarray(ns)).mean(axis=0)


def first_ranks(predictions: np.ndarray, positives: Sequence[np.ndarray]) -> np.ndarray:
    """Finds the rank of the first positive of each query: the query counts in recall@N where it is below N.

    Args:
        predictions: integers `[Q, k]`, database indices, nearest first; -1 is never a hit.
        positives: `Q` arrays of database indices.

    Returns:
        int64 `[Q]`, from 0; k where none of the predictions is a positive.
    """
    hits = np.stack([np.isin(row, mine) & (row >= 0) for row, mine in zip(predictions, positives, strict=True)])
    return np.where(hits.any(axis=1), hits.argmax(axis=1), predictions.shape[1])


def _warn_about_empty(positives: Sequence[np.ndarray]) -> None:
    empty = _count_empty(positives)
    if empty == len(positives):
        raise ValueError(
            "`positives` must give at least one query a database image; check that both sides use the same "
            f"coordinates. Received: {empty} of {len(positives)} queries without a positive"
        )
    if empty:
        share = empty / len(positives)
        logger.warning("%d queries (%.1f %%) have no positive and count as misses", empty, 100 * share)


def _count_empty(positives: Sequence[np.ndarray]) -> int:
    return sum(len(mine) == 0 for mine in positives)


def _check_indices(name: str, lists: Sequence[np.ndarray], queries: int, database: int) -> None:
    if len(lists) != queries:
        raise ValueError(
            f"`{name}` must hold one array for each query. Received: {len(lists)} arrays, {queries} queries"
        )
    for query, indices in enumerate(lists):
        if len(indices) and not 0 <= np.min(indices) <= np.max(indices) < database:
            raise ValueError(
                f"`{name}` must hold indices of database images, 0 to {database - 1}. "
                f"Received: {name}[{query}] from {np.min(indices)} to {np.max(indices)}"
            )
