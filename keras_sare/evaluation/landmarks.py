"""Evaluation of image retrieval: descriptors or rankings against the ground truth of a landmark dataset."""

from collections.abc import Sequence

import numpy as np

from keras_sare.datasets.landmarks.landmark_dataset import LandmarkDataset
from keras_sare.evaluation.mean_average_precision import (
    DEFAULT_KS,
    average_precisions_by_protocol,
    average_precisions_of_ranks,
    mean_over_queries,
)
from keras_sare.evaluation.retrieval_report import RetrievalReport
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.progress import progress

PAPER_DIMENSIONS = (16, 32, 64, 128, 256, 512)
"""Those over which Radenovic et al., 2016, compare whitenings."""


@plain_arguments
def evaluate_landmarks(
    queries: np.ndarray,
    database: np.ndarray,
    dataset: LandmarkDataset,
    protocol: str,
    ks: Sequence[int] = DEFAULT_KS,
    dimensions: int | None = None,
) -> RetrievalReport:
    """Searches the database for every query and measures mAP and mP@k under one protocol.

    Args:
        queries: `[Q, D]`, L2-normalised descriptors of `dataset.queries`.
        database: `[N, D]`, L2-normalised descriptors of `dataset.database`, array or memory map of any size.
        dataset: the ground truth.
        protocol: one of `dataset.protocols`.
        ks: numbers of images for mP@k, rising.
        dimensions: compares only so many first components, L2-normalised anew; None compares all as they are.

    Raises:
        ValueError: shapes do not agree with the dataset, its labels do not allow the protocol, or a descriptor is not
            finite.
    """
    return evaluate_protocols(queries, database, dataset, ks, dimensions, (protocol,))[protocol]


@plain_arguments
def evaluate_protocols(
    queries: np.ndarray,
    database: np.ndarray,
    dataset: LandmarkDataset,
    ks: Sequence[int] = DEFAULT_KS,
    dimensions: int | None = None,
    protocols: Sequence[str] | None = None,
) -> dict[str, RetrievalReport]:
    """Like `evaluate_landmarks`, under several protocols at the price of one search.

    Args:
        queries: `[Q, D]`, L2-normalised descriptors of `dataset.queries`.
        database: `[N, D]`, L2-normalised descriptors of `dataset.database`, array or memory map of any size.
        dataset: the ground truth.
        ks: numbers of images for mP@k, rising.
        dimensions: compares only so many first components, L2-normalised anew; None compares all as they are.
        protocols: which; by default all that the labels allow.

    Raises:
        ValueError: as in `evaluate_landmarks`.
    """
    _check_rows("queries", queries, len(dataset.queries))
    _check_rows("database", database, len(dataset.database))
    relevant = {protocol: dataset.relevant(protocol) for protocol in _allowed(dataset, protocols)}
    measured = average_precisions_by_protocol(queries, database, relevant, ks, dimensions)
    return {protocol: _report(dataset, protocol, ks, *each) for protocol, each in measured.items()}


@plain_arguments
def evaluate_rankings(
    ranks: np.ndarray, dataset: LandmarkDataset, ks: Sequence[int] = DEFAULT_KS, protocols: Sequence[str] | None = None
) -> dict[str, RetrievalReport]:
    """Measures given rankings, for example re-ranked ones.

    Args:
        ranks: integers `[Q, n]`, for each query database indices, best first, each once; -1 is no image. Positives that
            a short ranking lacks count as never found.
        dataset: the ground truth.
        ks: numbers of images for mP@k, rising.
        protocols: which; by default all that the labels allow.

    Raises:
        ValueError: shapes do not agree with the dataset, or its labels do not allow a protocol.
    """
    _check_rows("ranks", ranks, len(dataset.queries))
    if ranks.size and not -1 <= ranks.min() <= ranks.max() < len(dataset.database):
        raise ValueError(
            f"`ranks` must hold indices of the {len(dataset.database)} database images, or -1. "
            f"Received: from {ranks.min()} to {ranks.max()}"
        )
    return {
        protocol: _report(dataset, protocol, ks, *average_precisions_of_ranks(ranks, *dataset.relevant(protocol), ks))
        for protocol in _allowed(dataset, protocols)
    }


@plain_arguments
def dimension_sweep(
    queries: np.ndarray,
    database: np.ndarray,
    dataset: LandmarkDataset,
    dimensions: Sequence[int] = PAPER_DIMENSIONS,
    ks: Sequence[int] = DEFAULT_KS,
) -> dict[int, dict[str, RetrievalReport]]:
    """Measures descriptors truncated to their first dimensions (Radenovic et al., 2016, section 5).

    A whitening puts the components in the order of their variance, so a descriptor of d components is its first d,
    L2-normalised anew. No shorter database is made: blocks are cut as they are read.

    Args:
        queries: `[Q, D]` whitened descriptors of `dataset.queries`.
        database: `[N, D]` whitened descriptors of `dataset.database`, array or memory map of any size.
        dataset: the ground truth.
        dimensions: numbers of components; those above D are dropped.
        ks: numbers of images for mP@k, rising.

    Returns:
        Reports by number of components, then by protocol.

    Raises:
        ValueError: as in `evaluate_landmarks`, or all `dimensions` are above D.
    """
    kept = sorted({d for d in dimensions if d <= queries.shape[1]})
    if not kept:
        raise ValueError(
            f"`dimensions` must be at most {queries.shape[1]}, those of the descriptors. "
            f"Received: dimensions={tuple(dimensions)}"
        )
    return {d: evaluate_protocols(queries, database, dataset, ks, d) for d in progress(kept, "Dimensions")}


def _report(
    dataset: LandmarkDataset, protocol: str, ks: Sequence[int], averages: np.ndarray, precisions: np.ndarray
) -> RetrievalReport:
    return RetrievalReport(
        dataset=dataset.name,
        protocol=protocol,
        queries=len(dataset.queries),
        queries_without_positive=int(np.isnan(averages).sum()),
        database=len(dataset.database),
        # Sums of shares can pass 1 by a rounding.
        mean_average_precision=min(1.0, float(mean_over_queries(averages))),
        ks=tuple(ks),
        precisions=tuple(np.minimum(1.0, mean_over_queries(precisions)).tolist()),
    )


def _allowed(dataset: LandmarkDataset, protocols: Sequence[str] | None) -> Sequence[str]:
    chosen = dataset.protocols if protocols is None else protocols
    if not chosen or not set(chosen) <= set(dataset.protocols):
        raise ValueError(
            f"`protocols` must be among those that the labels of {dataset.name!r} allow, {dataset.protocols}. "
            f"Received: protocols={tuple(chosen)}"
        )
    return chosen


def _check_rows(name: str, rows: np.ndarray, expected: int) -> None:
    if rows.ndim != 2 or len(rows) != expected:
        raise ValueError(
            f"`{name}` must have one row for each of the {expected} images of the dataset. "
            f"Received: {name}.shape={rows.shape}"
        )
