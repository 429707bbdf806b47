"""Batches of places: a few images of each, no two places of a batch close to one another."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from keras_sare.mining.candidates import with_positives
from keras_sare.mining.mined_tuples import MinedTuples
from keras_sare.utils.arguments import plain_arguments

_GROUPS = 2
# Of the most similar places one in so many is drawn: batches differ from epoch to epoch.
_CHOICE = 3


@plain_arguments
class PlaceBatchMiner:
    """Chooses for queries the images of their places, and which queries may stand in one batch.

    A place is a query and some of its potential positives, drawn at random; where it has fewer, they are repeated. The
    negatives of an image are the images of the other places in its batch, see `keras_sare.losses.PlaceBatchLoss`.
    Batches are of places drawn at random (`epoch_queries`) or of such as look alike (`arrange`). Draws depend on (seed,
    epoch, query) alone.

    Reference: Ali-bey et al., "GSV-Cities", Neurocomputing 2022, section 4.

    Args:
        positives: for each query the database indices of its potential positives. Queries without any are never in a
            batch; `trainable_queries` lists the others.
        near: for each query the database indices that no other place of its batch may hold: those within the radius of
            negatives, and the radius of positives beyond it.
        images_per_place: images of a place, the query among them.
        seed: of the random draws.

    Attributes:
        trainable_queries: int64, ascending: those that can be mined.
        previous_negatives: int64 [0, 0]: nothing is remembered.
        most_negatives: 0: none is mined.

    Raises:
        ValueError: no query has a positive, the lists are of different queries, or `images_per_place` is below 2.
    """

    reads_descriptors = False

    def __init__(
        self, positives: Sequence[np.ndarray], near: Sequence[np.ndarray], images_per_place: int = 4, seed: int = 0
    ) -> None:
        if images_per_place < 2:
            raise ValueError(f"`images_per_place` must be at least 2. Received: images_per_place={images_per_place}")
        if len(positives) != len(near):
            raise ValueError(
                "`positives` and `near` must have one entry for each query. "
                f"Received: len(positives)={len(positives)}, len(near)={len(near)}"
            )
        self.positives = positives
        self.near = near
        self.images_per_place = images_per_place
        self.seed = seed
        self.trainable_queries = with_positives(positives)
        self.previous_negatives = np.zeros((0, 0), np.int64)
        self.most_negatives = 0

    def epoch_queries(self, epoch: int, places_per_step: int) -> np.ndarray:
        """Queries of an epoch in random order, such that every `places_per_step` of them are apart.

        A query that lies near one of the batch waits for the next batch; what fills no batch at the end is left out.

        Args:
            epoch: counted from 1.
            places_per_step: places in a batch.

        Returns:
            int64 [batches * places_per_step].
        """
        order = np.random.default_rng([self.seed, epoch]).permutation(self.trainable_queries)
        waiting = deque(order.tolist())
        chosen: list[int] = []
        while len(batch := self._next_batch(waiting, places_per_step)) == places_per_step:
            chosen += batch
        return np.array(chosen, np.int64)

    @plain_arguments
    def arrange(self, queries: np.ndarray, descriptors: np.ndarray, epoch: int, places_per_step: int) -> np.ndarray:
        """Puts places that look alike into one batch: there the negatives are hard.

        A batch has two groups: the first waiting query that is apart from the batch, and of the queries most similar
        to it in the cached descriptors a third, drawn at random, that are apart too. What fills no batch at the end is
        left out. Hard batches of similar places are those of Izquierdo and Civera, "Close, but not there: Boosting
        geographic distance sensitivity in visual place recognition", ECCV 2024, section 3.

        Args:
            queries: int64 [W] different queries that have a positive, in random order.
            descriptors: [W, D] their cached descriptors, L2-normalised.
            epoch: number of the epoch.
            places_per_step: places in a batch.

        Returns:
            int64 [W]: queries, batch after batch, then -1 for those left out.
        """
        free = np.ones(len(queries), bool)
        arranged = np.full(len(queries), -1, np.int64)
        filled = 0
        while len(batch := self._batch_alike(queries, free, descriptors, epoch, places_per_step)) == places_per_step:
            free[batch] = False
            arranged[filled : filled + places_per_step] = queries[batch]
            filled += places_per_step
        return arranged

    def largest_batch(self) -> int:
        """Places that a batch may have, as far as one pass over the queries in random order finds them."""
        order = np.random.default_rng([self.seed, 1]).permutation(self.trainable_queries)
        return len(self._next_batch(deque(order.tolist()), len(order)))

    def required_images(self, queries: np.ndarray, epoch: int) -> np.ndarray:
        """No descriptors are looked at: int64 [0]."""
        return np.zeros(0, np.int64)

    @plain_arguments
    def mine(
        self,
        queries: np.ndarray,
        descriptors: np.ndarray,
        database: np.ndarray,
        epoch: int,
        ids: np.ndarray | None = None,
    ) -> MinedTuples:
        """Draws the other images of the places of some queries.

        Args:
            queries: int64 [W] indices of queries that have a positive.
            descriptors: not used, and neither are `database` and `ids`.
            database: see `descriptors`.
            epoch: number of the epoch.
            ids: see `descriptors`.

        Returns:
            Images int64 [W, images_per_place - 1]; margins are NaN.

        Raises:
            ValueError: a query has no positive.
        """
        images = [self._drawn(query, epoch) for query in queries.tolist()]
        margins = np.full(len(queries), np.nan, np.float32)
        return MinedTuples(np.array(images, np.int64).reshape(len(queries), -1), margins)

    def _drawn(self, query: int, epoch: int) -> np.ndarray:
        positives = self.positives[query]
        if not len(positives):
            raise ValueError(
                "`queries` must have a potential positive each; take them from `trainable_queries`. "
                f"Received: query {query}"
            )
        drawn = np.random.default_rng([self.seed, epoch, query]).permutation(positives)
        return np.resize(drawn, self.images_per_place - 1)

    def _next_batch(self, waiting: deque[int], size: int) -> list[int]:
        """Takes queries that are apart from those waiting; the others keep their order."""
        batch = _Batch(self.positives, self.near)
        passed: list[int] = []
        while waiting and len(batch.queries) < size:
            query = waiting.popleft()
            if not batch.take(query):
                passed.append(query)
        waiting.extendleft(reversed(passed))
        return batch.queries

    def _batch_alike(
        self, order: np.ndarray, free: np.ndarray, descriptors: np.ndarray, epoch: int, size: int
    ) -> list[int]:
        """Where in `order` the queries of a batch of places alike stand, see `arrange`; fewer where none is left."""
        batch = _Batch(self.positives, self.near)
        chosen: list[int] = []
        for place in np.flatnonzero(free).tolist():
            if len(chosen) == size:
                break
            if not batch.take(order[place]):
                continue
            chosen.append(place)
            wanted = min(size - len(chosen), -(-size // _GROUPS) - 1)
            similarity = descriptors @ descriptors[place]
            similarity[~free] = -np.inf
            alike = np.argsort(-similarity, kind="stable")[: _CHOICE * (wanted + 1)]
            rng = np.random.default_rng([self.seed, epoch, order[place]])
            for other in rng.permutation(alike[free[alike]]).tolist():
                if wanted and batch.take(order[other]):
                    chosen.append(other)
                    wanted -= 1
        return chosen


class _Batch:
    """Queries whose places are apart.

    Args:
        positives: as of `PlaceBatchMiner`.
        near: as of `PlaceBatchMiner`.
    """

    def __init__(self, positives: Sequence[np.ndarray], near: Sequence[np.ndarray]) -> None:
        self.queries: list[int] = []
        self._positives = positives
        self._near = near
        self._held: set[int] = set()
        self._closed: set[int] = set()

    def take(self, query: int) -> bool:
        """Takes a query if it is apart from those taken, and says whether it did."""
        members = self._positives[query].tolist()
        near = self._near[query].tolist()
        if not self._closed.isdisjoint(members) or not self._held.isdisjoint(near):
            return False
        self.queries.append(query)
        self._held.update(members)
        self._closed.update(near)
        return True
