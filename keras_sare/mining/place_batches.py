"""Batches of places: a few images of each, no two places of a batch close to one another."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from keras_sare.mining.mined_tuples import MinedTuples
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
class PlaceBatchMiner:
    """Chooses for queries the images of their places, and which queries may stand in one batch.

    A place is a query and some of its potential positives, drawn at random; where it has fewer, they are repeated.
    Nothing is mined by descriptors: the negatives of an image are those of the other places in its batch, see
    `keras_sare.losses.PlaceBatchLoss`. The draw of a query depends on (seed, epoch, query) alone.

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
        self.trainable_queries = np.flatnonzero([len(rows) for rows in positives]).astype(np.int64)
        self.previous_negatives = np.zeros((0, 0), np.int64)
        self.most_negatives = 0
        if not len(self.trainable_queries):
            raise ValueError(
                f"`positives` must give at least one of the {len(positives)} queries a database image: none has a "
                "potential positive. Check the rule that they were chosen by."
            )

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
        batch: list[int] = []
        passed: list[int] = []
        held: set[int] = set()
        closed: set[int] = set()
        while waiting and len(batch) < size:
            query = waiting.popleft()
            members = self.positives[query].tolist()
            near = self.near[query].tolist()
            if closed.isdisjoint(members) and held.isdisjoint(near):
                batch.append(query)
                held.update(members)
                closed.update(near)
            else:
                passed.append(query)
        waiting.extendleft(reversed(passed))
        return batch
