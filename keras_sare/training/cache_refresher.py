"""Tuples of a stretch of training: the cached descriptors are computed anew and all its tuples are mined from them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_sare.distribution.workers import Workers
from keras_sare.extraction.extractor import Extractor
from keras_sare.training.data.training_images import TrainingImages
from keras_sare.training.stage_timer import StageTimer

logger = logging.getLogger(__name__)

MARGIN = 0.1
"""NetVLAD's: a tuple violates it where the hardest negative's squared distance exceeds the positive's by less."""


@dataclass(frozen=True)
class Window:
    """Mined tuples.

    Attributes:
        tuples: int64 [tuples, tuple size] image ids: query, positive, negatives, hardest first; of batches of places
            the query and the other images of its place.
        violating: how many of them violate `MARGIN`; 0 where no descriptors are looked at.
    """

    tuples: np.ndarray
    violating: int


class CacheRefresher:
    """Mines tuples from training images; with several workers each one mines its share, and all get all of them.

    Args:
        train: the images.
        extractor: gives the cached descriptors.
        workers: of the run.

    Raises:
        ValueError: the images do not suffice for the settings.
    """

    def __init__(self, train: TrainingImages, extractor: Extractor, workers: Workers) -> None:
        self.train = train
        self.extractor = extractor
        self.workers = workers
        self._source = train.tuple_source()
        self._miner = self._source.miner
        trainable = len(self._miner.trainable_queries)
        queries = len(self._source.queries)
        logger.info("Training queries with a potential positive: %d of %d", trainable, queries)
        self._source.check_steps(train.settings.tuples_per_step)

    @property
    def reads_descriptors(self) -> bool:
        """Whether tuples depend on cached descriptors."""
        return self._miner.reads_descriptors

    def windows(self, epoch: int) -> list[np.ndarray]:
        """Cuts the queries of an epoch into windows of whole steps.

        Those that are left at the end of the epoch and do not fill a step are not mined.

        Args:
            epoch: counted from 1.

        Returns:
            For each window the queries as `mine` takes them, int64.
        """
        settings = self.train.settings
        order = self._source.queries_of(epoch)
        steps = len(order) // settings.tuples_per_step
        order = order[: steps * settings.tuples_per_step]
        size = settings.steps_per_refresh(epoch, steps) * settings.tuples_per_step
        return [order[i : i + size] for i in range(0, len(order), size)]

    def mine(self, queries: np.ndarray, epoch: int, times: StageTimer) -> Window:
        """Computes the descriptors that mining looks at for some queries, and mines the tuples of these queries.

        Raises:
            ValueError: batches of places are asked for, and too few of the queries are apart from one another for one.
        """
        queries = self._arranged(queries, epoch, times)
        ids = self._source.queries[queries]
        with times.measure("refresh"):
            # Together: an image may be a query and in the database.
            looked_at = np.union1d(self._miner.required_images(queries, epoch), ids)
            cached = self._cached(looked_at)
        with times.measure("mining"):
            share = self.workers.shard(len(queries))
            database = slice(int(np.searchsorted(looked_at, self._source.database)))
            descriptors = cached[np.searchsorted(looked_at, ids[share])]
            mined = self._miner.mine(queries[share], descriptors, cached[database], epoch, looked_at[database])
            images = self.workers.all_gather(mined.images, len(queries))
            margins = self.workers.all_gather(mined.margins, len(queries))
            if len(self._miner.previous_negatives):  # A miner may keep none.
                self._miner.previous_negatives[queries] = images[:, 1:]
        return Window(np.concatenate([ids[:, None], images], axis=1), int((margins < MARGIN).sum()))

    def _arranged(self, queries: np.ndarray, epoch: int, times: StageTimer) -> np.ndarray:
        """The queries in the order of their steps, without those that fit into none."""
        if self._source.arrange is None:
            return queries
        with times.measure("refresh"):
            ids, place = np.unique(self._source.queries[queries], return_inverse=True)
            descriptors = self.train.extract(self.extractor, ids, "cache")[place]
        with times.measure("mining"):
            # One worker decides: on unlike processors the last digits differ.
            order = self.workers.broadcast(self._source.arrange(queries, descriptors, epoch))
        if order[0] < 0:
            raise ValueError(
                "`tuples_per_step` must not exceed the places of a refresh that are far enough apart: raise "
                f"`refresh_every` or lower it. Received: tuples_per_step={self.train.settings.tuples_per_step}, of "
                f"{len(queries)} queries"
            )
        return order[order >= 0]

    def _cached(self, ids: np.ndarray) -> np.ndarray:
        if not self.reads_descriptors:
            return np.zeros((len(ids), 0), np.float32)
        return self.train.extract(self.extractor, ids, "cache")

    def state_dict(self) -> dict[str, np.ndarray]:
        """The negatives of the last time, int64 [queries, negatives] or [0, negatives]; the same on all workers."""
        return {"remembered": self._miner.previous_negatives.copy()}  # As files of earlier versions call them.

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state_dict` gave."""
        self._miner.previous_negatives[:] = state["remembered"]
