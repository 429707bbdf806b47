"""What one model answered to each query."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from keras_sare.datasets import PlaceDataset
from keras_sare.evaluation.measures.numbers import MAP_NS, average_precisions_at
from keras_sare.evaluation.measures.ranking import Ranking

TOP = 5
"""Matches of a query that its line in `queries.csv` lists."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a model to the queries of a dataset.

    Attributes:
        matches: database images, int64 [Q, k], nearest first; -1 where there are fewer.
        scores: cosine similarity of the first match, float64 [Q].
        ranks: of the first positive among the matches, int64 [Q], from 0; k where there is none.
        errors: metres between query and first match, float64 [Q], infinite where there is no match; None where the
            dataset has no positions.
        nearest_positives: the positive nearest to each query in metres, or the first one: int64 [Q]; -1 where there is
            none.
        positives: number of positives of each query, int64 [Q].
        average_precisions: at each of `map_ns`, float64 [Q, len(map_ns)].
    """

    matches: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    errors: np.ndarray | None
    nearest_positives: np.ndarray
    positives: np.ndarray
    average_precisions: np.ndarray

    @property
    def map_ns(self) -> list[int]:
        """The N of mAP@N that the number of matches allows."""
        return _map_ns(self.matches)

    @property
    def hits(self) -> np.ndarray:
        """Whether the first match is right: bool [Q]."""
        return self.ranks < 1

    def of_queries(self, queries: np.ndarray) -> "Answers":
        """The answers to some queries, int64 [any number]."""
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {
            name: values if values is None else values[queries] for name, values in arrays.items()
        }
        return Answers(**chosen)

    @classmethod
    def of(
        cls, dataset: PlaceDataset, ranking: Ranking, positives: Sequence[np.ndarray], ranks: np.ndarray
    ) -> "Answers":
        """Looks up what belongs to a ranking.

        Args:
            dataset: of the queries and the database.
            ranking: of the model's descriptors.
            positives: of each query.
            ranks: of the first positives; see `keras_sare.evaluation.recall.first_ranks`.
        """
        nearest = [_nearest(dataset, query, mine) for query, mine in enumerate(positives)]
        return cls(
            matches=ranking.indices,
            scores=ranking.scores,
            ranks=ranks,
            errors=_errors(dataset, ranking.indices[:, 0]),
            nearest_positives=np.array(nearest, np.int64),
            positives=np.array([len(mine) for mine in positives], np.int64),
            average_precisions=average_precisions_at(ranking.indices, positives, _map_ns(ranking.indices)),
        )


def _map_ns(matches: np.ndarray) -> list[int]:
    return [n for n in MAP_NS if n <= matches.shape[1]]


def _errors(dataset: PlaceDataset, matches: np.ndarray) -> np.ndarray | None:
    queries = dataset.queries.positions
    database = dataset.database.positions
    if queries is None or database is None:
        return None
    errors = np.linalg.norm(queries - database[matches], axis=1)
    return np.where(matches < 0, np.inf, errors)


def _nearest(dataset: PlaceDataset, query: int, positives: np.ndarray) -> int:
    if not len(positives):
        return -1
    if dataset.queries.positions is None or dataset.database.positions is None:
        return int(positives[0])
    away = dataset.database.positions[positives] - dataset.queries.positions[query]
    return int(positives[np.linalg.norm(away, axis=1).argmin()])
