"""The database images nearest to each query, where a protocol excludes some or keeps one of each panorama."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_sare.retrieval import nearest
from keras_sare.retrieval.excluded_rows import ExcludedRows
from keras_sare.utils.arguments import plain_arguments

HELD = 1 << 25
"""Neighbours held at a time, of all queries that are searched together: 12 bytes each."""

FIRST_FACTOR = 12
"""How many times the neighbours needed are looked at first. The 12 cut-outs of a panorama need no second look;
NetVLAD's code takes 10 times as many where timestamps are excluded."""

_NEXT_FACTOR = 4


class Ranking(NamedTuple):
    """What a search found for each query.

    Attributes:
        distances: squared, float32 [Q, k], nearest first; infinite where a query has fewer candidates.
        indices: of database images, int64 [Q, k]; -1 there.
    """

    distances: np.ndarray
    indices: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Cosine similarity of the first match, of descriptors of norm 1: float64 [Q], -inf where there is none."""
        return 1 - self.distances[:, 0].astype(np.float64) / 2


@plain_arguments
def rank(
    queries: np.ndarray,
    database: np.ndarray,
    depth: int,
    exclude: Sequence[np.ndarray] | None = None,
    groups: np.ndarray | None = None,
) -> Ranking:
    """Finds the `depth` database images nearest to each query among those that it may be given.

    The search is exact. It looks at more neighbours than `depth` where something may be dropped, and again at more of
    them for the queries that are left with too few.

    Args:
        queries: [Q, D].
        database: [N, D], array or memory map.
        depth: images for each query, 1 to N.
        exclude: for each query the database images that it must not be given.
        groups: int64 [N]; of the images of one group only the nearest is kept, for example of the cut-outs of a
            panorama (Torii et al., CVPR 2015). Excluded ones go first.

    Raises:
        ValueError: shapes or lengths do not agree, or `depth` or an index is out of range.
    """
    size = len(database)
    if exclude is None and groups is None:
        return Ranking(*nearest(queries, database, depth))
    closed = ExcludedRows([np.zeros(0, np.int64)] * len(queries) if exclude is None else exclude, size)
    groups = np.arange(size) if groups is None else np.unique(groups, return_inverse=True)[1]
    most = min(size, depth * int(np.bincount(groups).max()) + int(closed.counts(0, size).max(initial=0)))
    distances = np.full((len(queries), depth), np.inf, np.float32)
    indices = np.full((len(queries), depth), -1, np.int64)
    asked = min(most, FIRST_FACTOR * depth)
    unfinished = np.arange(len(queries))
    while True:
        for chosen in np.array_split(unfinished, max(1, -(-len(unfinished) * asked // HELD))):
            found = Ranking(*nearest(queries[chosen], database, asked))
            distances[chosen], indices[chosen] = _kept(found, ~closed.contains(chosen, found.indices), groups, depth)
        unfinished = unfinished[(indices[unfinished] < 0).any(axis=1)]
        if asked == most or not len(unfinished):
            return Ranking(distances, indices)
        asked = min(most, _NEXT_FACTOR * asked)


def _kept(found: Ranking, allowed: np.ndarray, groups: np.ndarray, depth: int) -> Ranking:
    """The first `depth` of what was found that are allowed, and the first of their groups."""
    distances = np.full((len(allowed), depth), np.inf, np.float32)
    indices = np.full((len(allowed), depth), -1, np.int64)
    for row, mask in enumerate(allowed):
        places = np.flatnonzero(mask)
        firsts = np.unique(groups[found.indices[row, places]], return_index=True)[1]
        chosen = places[np.sort(firsts)[:depth]]
        distances[row, : len(chosen)] = found.distances[row, chosen]
        indices[row, : len(chosen)] = found.indices[row, chosen]
    return Ranking(distances, indices)
