"""Recall of shorter descriptors, of smaller databases, and of any two sides."""

import dataclasses
import tempfile
from collections.abc import Sequence

import numpy as np

from keras_sare.datasets import Neighbours, PlaceDataset
from keras_sare.evaluation.measures.measured import Measured
from keras_sare.evaluation.protocols import GroundTruth
from keras_sare.evaluation.report import RecallReport
from keras_sare.utils.arrays import array_within

Sides = tuple[np.ndarray, np.ndarray]
BLOCK_ROWS = 4096
"""Rows that are cut or copied at a time."""

_MEMORY = 1e9


def recall_by_dimension(
    sides: Sides, truth: GroundTruth, dataset: PlaceDataset, dims: Sequence[int]
) -> dict[int, RecallReport]:
    """Measures descriptors cut to their first d components and L2-normalised anew, as NetVLAD's code cuts them.

    Args:
        sides: descriptors of the queries, [Q, D], and of the database, [N, D].
        truth: of the protocol.
        dataset: of both.
        dims: numbers of components, 1 to D.

    Returns:
        Reports by number of components, rising.

    Raises:
        ValueError: a number is out of range.
    """
    width = sides[0].shape[1]
    if not dims or not all(1 <= dim <= width for dim in dims):
        raise ValueError(f"`dims` must be from 1 to {width}, those of the descriptors. Received: dims={tuple(dims)}")
    return {dim: recall_of((_cut(sides[0], dim), _cut(sides[1], dim)), truth, dataset) for dim in sorted({*dims})}


def recall_by_database_size(
    sides: Sides, truth: GroundTruth, dataset: PlaceDataset, sizes: Sequence[int], seed: int = 0
) -> dict[int, RecallReport]:
    """Measures a search among fewer images: all positives stay, and of the others a part drawn at random.

    So a smaller database is an easier one, never one that misses an answer, and the larger of two holds the smaller.

    Args:
        sides: descriptors of the queries, [Q, D], and of the database, [N, D].
        truth: of the protocol.
        dataset: of both.
        sizes: numbers of database images, from that of all positives to N.
        seed: of what is drawn.

    Returns:
        Reports by number of images, rising.

    Raises:
        ValueError: a number is out of range.
    """
    check_database_sizes(truth, dataset, sizes)
    count = len(dataset.database)
    needed = np.unique(truth.positives.indices)
    others = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(count), needed))
    found = {}
    for size in sorted({*sizes}):
        kept = np.union1d(needed, others[: size - len(needed)])
        found[size] = recall_of((sides[0], _rows(sides[1], kept)), _among(truth, kept, count), _smaller(dataset, kept))
    return found


def check_database_sizes(truth: GroundTruth, dataset: PlaceDataset, sizes: Sequence[int]) -> None:
    """Checks numbers of database images for `recall_by_database_size`.

    Raises:
        ValueError: one is out of range.
    """
    count = len(dataset.database)
    least = len(np.unique(truth.positives.indices))
    if not sizes or not all(least <= size <= count for size in sizes):
        raise ValueError(
            f"`database_sizes` must be from {least}, the number of positives, to {count}, that of database images. "
            f"Received: database_sizes={tuple(sizes)}"
        )


def recall_of(sides: Sides, truth: GroundTruth, dataset: PlaceDataset) -> RecallReport:
    """Measures recall alone, for example of images of another size.

    Args:
        sides: descriptors of the queries, [Q, D], and of the database, [N, D].
        truth: of the protocol.
        dataset: of both.
    """
    measured = Measured(truth.protocol, "recall", truth.positives, truth.exclude, truth.groups)
    measured.measure("", sides, dataset)
    return measured.reports[""]


def _smaller(dataset: PlaceDataset, kept: np.ndarray) -> PlaceDataset:
    return dataclasses.replace(dataset, database=dataset.database.subset(kept))


def _among(truth: GroundTruth, kept: np.ndarray, count: int) -> GroundTruth:
    """The same in the numbers of a database of fewer images."""
    numbers = np.full(count, -1, np.int64)
    numbers[kept] = np.arange(len(kept))

    def renumbered(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [mine[mine >= 0] for mine in (numbers[row] for row in rows)]

    return dataclasses.replace(
        truth,
        positives=Neighbours.of(renumbered(truth.positives)),
        exclude=None if truth.exclude is None else renumbered(truth.exclude),
        groups=None if truth.groups is None else truth.groups[kept],
    )


def _cut(rows: np.ndarray, dim: int) -> np.ndarray:
    out = array_within(_MEMORY, (len(rows), dim), tempfile.gettempdir())
    for start in range(0, len(rows), BLOCK_ROWS):
        block = np.asarray(rows[start : start + BLOCK_ROWS, :dim], np.float32)
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        out[start : start + BLOCK_ROWS] = block / np.maximum(norms, np.finfo(np.float32).tiny)
    return out


def _rows(rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    out = array_within(_MEMORY, (len(kept), rows.shape[1]), tempfile.gettempdir())
    for start in range(0, len(kept), BLOCK_ROWS):
        out[start : start + BLOCK_ROWS] = rows[kept[start : start + BLOCK_ROWS]]
    return out
