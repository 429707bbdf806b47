"""A dataset of places together with what the model is fed for each of its images."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from keras_sare.datasets import ImageSet, Neighbours, PlaceDataset, training_positives
from keras_sare.extraction.extractor import Extractor
from keras_sare.mining import HardNegativeMiner, PlaceBatchMiner
from keras_sare.training.data.training_images import TrainingImages, TupleSource, checksum
from keras_sare.training.settings.place_settings import PlaceSettings


@dataclass(frozen=True)
class Places(TrainingImages):
    """A dataset of places and its inputs; ids run over the database, then over the queries. See `TrainingImages`."""

    dataset: PlaceDataset
    settings: PlaceSettings

    @property
    def fingerprint(self) -> str:
        """Tells the dataset from others: by its images and what their positives depend on."""
        database = self.dataset.database
        queries = self.dataset.queries
        known = checksum(*self._what_mining_reads(database), *self._what_mining_reads(queries))
        return f"{len(database)} database images and {len(queries)} queries, checksum {known}"

    def tuple_source(self) -> TupleSource:
        """Makes the miner, whose queries are the dataset's, and where the settings say so its database images too.

        Raises:
            ValueError: no query has a potential positive, or there are too few negatives.
        """
        ids = self.query_ids()
        if self.settings.database_queries:
            ids = np.concatenate([ids, np.arange(len(self.dataset.database))])
        return self._of_places(ids) if self.settings.batches == "places" else self._of_tuples(ids)

    def query_ids(self, queries: np.ndarray | None = None) -> np.ndarray:
        """Ids of queries, all by default."""
        chosen = np.arange(len(self.dataset.queries)) if queries is None else queries
        return chosen + len(self.dataset.database)

    def extract_all(self, extractor: Extractor) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors of all queries and of the whole database."""
        database = self.extract(extractor, np.arange(len(self.dataset.database)), f"{self.name} database")
        return self.extract(extractor, self.query_ids(), f"{self.name} queries"), database

    def _positives(self, dataset: PlaceDataset, ids: np.ndarray) -> Neighbours:
        settings = self.settings
        return training_positives(
            dataset, ids, settings.positive_radius, settings.min_positive, settings.positive_heading
        )

    def _of_tuples(self, ids: np.ndarray) -> TupleSource:
        settings = self.settings
        miner = HardNegativeMiner(
            self._positives(self.dataset, ids),
            self.dataset.nearby(settings.negative_radius, ids=ids),
            len(self.dataset.database),
            settings.negatives,
            settings.negative_pool,
            settings.seed,
            settings.mining,
        )
        return TupleSource(miner, len(self.dataset.database), ids, partial(self._shuffled, miner.trainable_queries))

    def _of_places(self, ids: np.ndarray) -> TupleSource:
        settings = self.settings
        # A place is shown by photos of both sides, which are of different walks.
        images = len(self.dataset.paths)
        both = replace(self.dataset, database=self.dataset.images_of(np.arange(images)))
        # Then every image of a place is a negative of every image of the others.
        near = both.nearby(settings.negative_radius + settings.positive_radius, ids=ids)
        miner = PlaceBatchMiner(self._positives(both, ids), near, settings.images_per_place, settings.seed)
        size = settings.tuples_per_step
        if settings.mining == "random":
            return TupleSource(miner, images, ids, partial(miner.epoch_queries, places_per_step=size))
        shuffled = partial(self._shuffled, miner.trainable_queries)
        return TupleSource(miner, images, ids, shuffled, partial(miner.arrange, places_per_step=size))

    def _shuffled(self, queries: np.ndarray, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.settings.seed, epoch]).permutation(queries)

    def _what_mining_reads(self, images: ImageSet) -> list[np.ndarray]:
        read = [images.paths, images.places if images.positions is None else images.positions]
        read += [images.timestamps] if self.dataset.other_timestamps else []
        read += [] if self.settings.positive_heading is None else [images.headings]
        return [values for values in read if values is not None]
