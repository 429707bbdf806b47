"""Tuples of a stretch of training: the cached descriptors are computed anew and all its tuples are mined from them."""

import logging
from dataclasses import dataclass

import numpy as np

from keras_sare.datasets import neighbours_within
from keras_sare.mining import HardNegativeMiner
from keras_sare.training.describer import Describer
from keras_sare.training.places import Places
from keras_sare.training.settings import TrainingSettings
from keras_sare.training.time_split import TimeSplit
from keras_sare.training.workers import Workers

logger = logging.getLogger(__name__)

MARGIN = 0.1
"""NetVLAD's: a tuple violates it where the hardest negative's squared distance exceeds the positive's by less."""


@dataclass(frozen=True)
class Window:
    """Mined tuples.

    Attributes:
        tuples: int64 [tuples, 2 + negatives] image ids: query, positive, negatives, hardest first.
        violating: how many of them violate `MARGIN`.
    """

    tuples: np.ndarray
    violating: int


class WindowMiner:
    """Mines tuples from training places; with several workers each one mines its share, and all get all of them.

    Args:
        train: the places.
        settings: of the run.
        describer: gives the cached descriptors.
        workers: of the run.

    Attributes:
        remembered: int64 [queries, negatives], what the miner remembers; the same on all workers.
        queries: that have a potential positive.

    Raises:
        ValueError: no query has a potential positive, or there are too few negatives.
    """

    def __init__(self, train: Places, settings: TrainingSettings, describer: Describer, workers: Workers) -> None:
        self.train, self.describer, self.workers = train, describer, workers
        self.seed, self.per_step = settings.seed, settings.tuples_per_step
        database, positions = train.dataset.database, train.dataset.queries.positions
        self._ids = train.query_ids()
        if settings.database_queries:
            self._ids = np.concatenate([self._ids, np.arange(len(database))])
            positions = np.concatenate([positions, database.positions])
        self._miner = HardNegativeMiner(
            neighbours_within(positions, database.positions, settings.positive_radius, settings.min_positive),
            neighbours_within(positions, database.positions, settings.negative_radius),
            len(database),
            settings.negatives,
            settings.negative_pool,
            settings.seed,
            settings.mining,
        )
        self.queries, self.remembered = self._miner.trainable_queries, self._miner.remembered
        logger.info("Training queries with a potential positive: %d of %d", len(self.queries), len(self._ids))

    def windows(self, epoch: int, size: int) -> list[np.ndarray]:
        """Cuts the queries, in the random order of an epoch, into windows of whole steps.

        Those that are left at the end of the epoch and do not fill a step are not mined.

        Args:
            epoch: counted from 1.
            size: queries in a window, rounded down to whole steps, at least one.
        """
        order = np.random.default_rng([self.seed, epoch]).permutation(self.queries)
        order = order[: len(order) // self.per_step * self.per_step]
        size = max(size // self.per_step, 1) * self.per_step
        return [order[i : i + size] for i in range(0, len(order), size)]

    def mine(self, queries: np.ndarray, epoch: int, times: TimeSplit) -> Window:
        """Computes the descriptors that mining looks at for some queries, and mines the tuples of these queries."""
        with times.spent_on("refresh"):
            looked_at = self._miner.reachable(queries, epoch)
            database = self.train.describe(self.describer, looked_at, "cache: database")
            descriptors = self.train.describe(self.describer, self._ids[queries], "cache: queries")
        with times.spent_on("mining"):
            share = self.workers.share(len(queries))
            mined = self._miner.mine(queries[share], descriptors[share], database, epoch, looked_at)
            images = self.workers.gather(mined.images, len(queries))
            margins = self.workers.gather(mined.margins, len(queries))
            self.remembered[queries] = images[:, 1:]
        tuples = np.concatenate([self._ids[queries][:, None], images], axis=1)
        return Window(tuples, int((margins < MARGIN).sum()))
