"""A dataset of places together with what the model is fed for each of its images."""

from dataclasses import dataclass

import numpy as np

from keras_sare.datasets import PlaceDataset, neighbours_within
from keras_sare.mining import HardNegativeMiner
from keras_sare.training.describer import Describer
from keras_sare.training.place_settings import PlaceSettings
from keras_sare.training.training_images import TrainingImages, TupleSource, checksum


@dataclass(frozen=True)
class Places(TrainingImages):
    """A dataset of places and its inputs; ids run over the database, then over the queries. See `TrainingImages`."""

    dataset: PlaceDataset
    settings: PlaceSettings

    @property
    def fingerprint(self) -> str:
        """Tells the dataset from others: by its images and their positions."""
        database, queries = self.dataset.database, self.dataset.queries
        known = checksum(database.paths, database.positions, queries.paths, queries.positions)
        return f"{len(database)} database images and {len(queries)} queries, checksum {known}"

    def tuple_source(self) -> TupleSource:
        """Makes the miner, whose queries are the dataset's, and where the settings say so its database images too.

        Raises:
            ValueError: no query has a potential positive, or there are too few negatives.
        """
        settings, database = self.settings, self.dataset.database
        ids, positions = self.query_ids(), self.dataset.queries.positions
        if settings.database_queries:
            ids = np.concatenate([ids, np.arange(len(database))])
            positions = np.concatenate([positions, database.positions])
        miner = HardNegativeMiner(
            neighbours_within(positions, database.positions, settings.positive_radius, settings.min_positive),
            neighbours_within(positions, database.positions, settings.negative_radius),
            len(database),
            settings.negatives,
            settings.negative_pool,
            settings.seed,
            settings.mining,
        )

        def queries_of(epoch: int) -> np.ndarray:
            return np.random.default_rng([settings.seed, epoch]).permutation(miner.trainable_queries)

        return TupleSource(miner, len(database), ids, queries_of)

    def query_ids(self, queries: np.ndarray | None = None) -> np.ndarray:
        """Ids of queries, all by default."""
        chosen = np.arange(len(self.dataset.queries)) if queries is None else queries
        return chosen + len(self.dataset.database)

    def describe_all(self, describer: Describer) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors of all queries and of the whole database."""
        database = self.describe(describer, np.arange(len(self.dataset.database)), f"{self.name} database")
        return self.describe(describer, self.query_ids(), f"{self.name} queries"), database
