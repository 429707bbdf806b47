"""Mining of tuples from 3D models, as "CNN Image Retrieval Learns from BoW" does it."""

import logging

import numpy as np

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.mining.candidates import nearest_candidates, rows_of
from keras_sare.mining.mined_tuples import MinedTuples
from keras_sare.mining.sfm.negatives import hardest_negatives, negative_pool
from keras_sare.mining.sfm.positives import PositiveRule, possible_positives
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.choices import check_choice

logger = logging.getLogger(__name__)

_NEGATIVES = ("N1", "N2")
# Of what a random draw is: seeds of different draws must differ in more than zeros at their end.
_POOL = 1
_EPOCH = 2
_POSITIVE = 3


@plain_arguments
class SfMTupleMiner:
    """Chooses for images of 3D models their positive and their hardest negatives.

    The positive comes from the query's own model, by one of the rules of `PositiveRule`. The negatives are the nearest
    in the cached descriptors among `pool` random images of an epoch that are of other clusters:

    * N1: the nearest ones;
    * N2: the nearest ones, at most one from a cluster.

    The random draws depend on (seed, epoch), and those of positives on (seed, epoch, query), alone: any split of the
    queries over windows and workers gives the same tuples, and there is no state. Positives by m1 follow the
    descriptors, those by m3 are drawn anew in each epoch. The published data keep theirs for the whole training: for
    that, mine once, put (query, positive) into the dataset's `pairs` and train by "pairs".

    What depends on the models alone is computed at construction and kept: the possible positives of each image.

    Reference: Radenovic, Tolias, Chum, "CNN Image Retrieval Learns from BoW: Unsupervised Fine-Tuning with Hard
    Examples", ECCV 2016. What is drawn for an epoch follows its public PyTorch code.

    Args:
        dataset: images, their models, and what the rule of positives needs.
        positive: "m1", "m2", "m3" or "pairs", or a `PositiveRule` with other thresholds than the paper's.
        negatives: negatives per tuple.
        negatives_from: "N1" or "N2".
        pool: images of an epoch that may be negatives, the same ones for all queries.
        queries_per_epoch: random queries of an epoch; None, or more than there are: all.
        seed: of the random draws.

    Attributes:
        trainable_queries: int64 images that have a positive.
        previous_negatives: int64 [0, negatives]; other miners keep their state here.
        most_negatives: negatives per tuple that every image could have.

    Raises:
        ValueError: an argument is none of the allowed ones, the dataset lacks what the rule needs, no image has a
            positive, a pair is of different clusters, or there are too few other clusters.
    """

    reads_descriptors = True

    def __init__(
        self,
        dataset: SfMDataset,
        positive: str | PositiveRule = "m3",
        negatives: int = 5,
        negatives_from: str = "N2",
        pool: int = 20000,
        queries_per_epoch: int | None = None,
        seed: int = 0,
    ) -> None:
        for name, count in (("negatives", negatives), ("pool", pool), ("queries_per_epoch", queries_per_epoch)):
            if count is not None and count < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={count}")
        check_choice("negatives_from", negatives_from, _NEGATIVES)
        self.rule = PositiveRule(positive) if isinstance(positive, str) else positive
        self.images = len(dataset.paths)
        self.negatives = negatives
        self.pool = pool
        self.seed = seed
        self.queries_per_epoch = queries_per_epoch
        self.one_per_cluster = negatives_from == "N2"
        self.clusters = np.unique(dataset.clusters, return_inverse=True)[1].astype(np.int64)
        self._check_clusters()
        self.positives = possible_positives(dataset, self.rule)
        self.trainable_queries = np.flatnonzero(self.positives.counts)
        self.previous_negatives = np.zeros((0, negatives), np.int64)
        self._check_positives()
        logger.info("Images with a positive by %s: %d of %d", self.rule.name, len(self.trainable_queries), self.images)

    def epoch_queries(self, epoch: int) -> np.ndarray:
        """Draws the queries of an epoch, in random order: int64 [at most `queries_per_epoch`] different images."""
        order = np.random.default_rng([self.seed, epoch, _EPOCH]).permutation(self.trainable_queries)
        return order[: self.queries_per_epoch]

    def required_images(self, queries: np.ndarray, epoch: int) -> np.ndarray:
        """Images that `mine` looks at for some queries: only their descriptors need be computed.

        Args:
            queries: int64 [W] images that have a positive.
            epoch: number of the epoch.

        Returns:
            int64 [n] images, ascending: the epoch's pool and what may be a positive of the queries.
        """
        looked_at = np.zeros(self.images, bool)
        looked_at[self._pool(epoch)] = True
        for query in queries.tolist():
            looked_at[self._candidates(query, epoch)] = True
        return np.flatnonzero(looked_at)

    @plain_arguments
    def mine(
        self,
        queries: np.ndarray,
        descriptors: np.ndarray,
        database: np.ndarray,
        epoch: int,
        ids: np.ndarray | None = None,
        memory_limit: float = 5e8,
    ) -> MinedTuples:
        """Mines the tuples of a window of queries.

        Queries do not see one another: any split of a window gives the same tuples (distances that agree to float32's
        rounding, about 1e-6 of unit vectors, may change places).

        Args:
            queries: int64 [W] images that have a positive.
            descriptors: [W, D] their cached descriptors, L2-normalised.
            database: [n, D] cached descriptors of images, L2-normalised; an array or a memory map of any float type,
                read in order of rows.
            epoch: number of the epoch.
            ids: int64 [n], ascending: the images that the rows of `database` are of; at least those that
                `required_images` gives. None where `database` has a row for each image.
            memory_limit: bytes for the part of the database that is held at a time; nothing else grows with it.

        Returns:
            The tuples; `images` are rows of the dataset's paths.

        Raises:
            ValueError: shapes do not fit, a query has no positive, or a descriptor is not finite.
        """
        ids = np.arange(self.images) if ids is None else ids
        self._check_window(queries, descriptors, database, ids)
        candidates = [rows_of(self._candidates(query, epoch), ids) for query in queries.tolist()]
        near, positive = nearest_candidates(descriptors, database, candidates, 1, memory_limit)
        clusters = np.full(len(ids), -1)
        pool = self._pool(epoch)
        clusters[rows_of(pool, ids)] = self.clusters[pool]
        far, negatives = hardest_negatives(
            descriptors, self.clusters[queries], database, clusters, self.negatives, self.one_per_cluster, memory_limit
        )
        return MinedTuples(ids[np.concatenate([positive, negatives], axis=1)], far[:, 0] - near[:, 0])

    def _pool(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, epoch, _POOL])
        return negative_pool(self.clusters, self.pool, self.negatives, self.one_per_cluster, random)

    def _candidates(self, query: int, epoch: int) -> np.ndarray:
        """The images of which the nearest one is the positive."""
        possible = self.positives[query]
        if self.rule.name in ("m1", "m2") or not len(possible):
            return possible
        drawn = np.random.default_rng([self.seed, epoch, _POSITIVE, query]).integers(len(possible))
        return possible[drawn : drawn + 1]

    def _check_clusters(self) -> None:
        sizes = np.bincount(self.clusters)
        if self.one_per_cluster and len(sizes) <= self.negatives:
            raise ValueError(
                f"`negatives` must not exceed the other clusters where each gives one (N2): there are {len(sizes)} "
                "clusters. Take negatives_from='N1', or fewer negatives. "
                f"Received: negatives={self.negatives}, negatives_from='N2'"
            )
        fewest = int(self.images - sizes.max(initial=0))
        self.most_negatives = min(fewest, len(sizes) - 1) if self.one_per_cluster else fewest
        if fewest < self.negatives:
            raise ValueError(
                f"`negatives` must not exceed the images of other clusters: the largest cluster leaves only {fewest} "
                f"of {self.images}. Take fewer negatives, or more 3D models. Received: negatives={self.negatives}"
            )

    def _check_positives(self) -> None:
        if not len(self.trainable_queries):
            raise ValueError(
                f"`dataset` must have an image with a positive: by {self.rule.name!r} none of its {self.images} has "
                f"one. Relax the rule's thresholds or take another rule. Received: positive={self.rule}"
            )
        queries = np.repeat(np.arange(self.images), self.positives.counts)
        apart = np.flatnonzero(self.clusters[queries] != self.clusters[self.positives.indices])
        if len(apart):
            pair = queries[apart[0]], self.positives.indices[apart[0]]
            raise ValueError(
                "`dataset.pairs` must be of one cluster: negatives come from the others, and an image would be "
                f"positive and negative in one tuple. Leave out the {len(apart)} pairs across clusters. "
                f"Received: the pair {pair[0]}, {pair[1]}"
            )

    def _check_window(
        self, queries: np.ndarray, descriptors: np.ndarray, database: np.ndarray, ids: np.ndarray
    ) -> None:
        if len(descriptors) != len(queries) or len(database) != len(ids):
            raise ValueError(
                f"`descriptors` must have a row for each of the {len(queries)} queries, `database` one for each of the "
                f"{len(ids)} images. Received: descriptors.shape={descriptors.shape}, database.shape={database.shape}"
            )
        without_positive = np.setdiff1d(queries, self.trainable_queries)
        if len(without_positive):
            raise ValueError(
                "`queries` must have a possible positive each; take them from `trainable_queries`. "
                f"Received: query {without_positive[0]}"
            )
