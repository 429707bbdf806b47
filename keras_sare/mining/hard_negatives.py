"""Mining of hard negatives from cached descriptors, as NetVLAD's and SARE's training does it."""

from collections.abc import Sequence

import numpy as np

from keras_sare.mining.candidates import nearest_candidates, rows_of, rows_within, with_positives
from keras_sare.mining.mined_tuples import MinedTuples
from keras_sare.retrieval import nearest
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.choices import check_choice

_WAYS = ("random", "full")


@plain_arguments
class HardNegativeMiner:
    """Chooses for queries their best positive and their hardest negatives.

    The positive is the potential positive that is nearest in the cached descriptors. The negatives are remembered, and
    come from one of

    * `mining="random"`, the papers' way: the nearest of `pool` random definite negatives united with those that the
      same query met last time;
    * `mining="full"`: the nearest of all definite negatives, an exact search over the whole database. The remembered
      ones are among them anyway.

    The random draw of a query depends on (seed, epoch, query) alone. So a resumed run, and any number of workers that
    share the queries, draw the same; only `previous_negatives` is state.

    Reference: Arandjelovic et al., "NetVLAD", CVPR 2016, section 4 and appendix B; Liu, Li, Dai, ICCV 2019, section 5
    keeps the scheme and takes the nearest negatives whether or not they violate a margin.

    Args:
        positives: for each query the database indices of its potential positives (NetVLAD: 1 m < d <= 10 m). Queries
            without any are never to be mined; `trainable_queries` lists the others.
        non_negatives: for each query the database indices that are no definite negatives (d <= 25 m).
        database_size: number of database images.
        negatives: negatives per tuple.
        pool: random definite negatives that are looked at.
        seed: of the random draws.
        mining: "random" or "full".

    Attributes:
        most_negatives: negatives per tuple that every query could have.

    Raises:
        ValueError: no query has a positive, some query has fewer definite negatives than `negatives`, the lists are
            of different queries, or `mining` or `negatives` is not one of the allowed values.
    """

    reads_descriptors = True

    def __init__(
        self,
        positives: Sequence[np.ndarray],
        non_negatives: Sequence[np.ndarray],
        database_size: int,
        negatives: int = 10,
        pool: int = 1000,
        seed: int = 0,
        mining: str = "random",
    ) -> None:
        check_choice("mining", mining, _WAYS)
        if negatives < 1:
            raise ValueError(f"`negatives` must be at least 1. Received: negatives={negatives}")
        if len(positives) != len(non_negatives):
            raise ValueError(
                "`positives` and `non_negatives` must have one entry for each query. "
                f"Received: len(positives)={len(positives)}, len(non_negatives)={len(non_negatives)}"
            )
        self.positives = positives
        self.non_negatives = non_negatives
        self.mining = mining
        self.database_size = database_size
        self.negatives = negatives
        self.pool = max(pool, negatives)
        self.seed = seed
        self.trainable_queries = with_positives(positives)
        self.previous_negatives = np.full((len(positives), negatives), -1, np.int64)
        self.most_negatives = database_size - max(len(non_negatives[q]) for q in self.trainable_queries.tolist())
        if self.most_negatives < negatives:
            raise ValueError(
                "`negatives` must not exceed the definite negatives of any query: one has only "
                f"{self.most_negatives} among "
                f"{database_size} database images. Received: negatives={negatives}"
            )

    def required_images(self, queries: np.ndarray, epoch: int) -> np.ndarray:
        """Database images that `mine` looks at for some queries: only their descriptors need be computed.

        Args:
            queries: int64 [W] indices of queries that have a positive.
            epoch: number of the epoch.

        Returns:
            int64 [n] database indices, ascending; all of them for `mining="full"`.
        """
        if self.mining == "full":
            return np.arange(self.database_size)
        looked_at = np.zeros(self.database_size, bool)
        for query in queries.tolist():
            looked_at[self.positives[query]] = True
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
        """Mines the tuples of a window of queries and remembers their negatives.

        Queries do not see one another: any split of a window gives the same tuples (distances that agree to float32's
        rounding, about 1e-6 of unit vectors, may change places). Where windows are shared out over workers, each has
        to set `previous_negatives[queries] = images[:, 1:]` for the part that others mined.

        Args:
            queries: int64 [W] indices of queries that have a positive.
            descriptors: [W, D] their cached descriptors, L2-normalised.
            database: [n, D] cached descriptors, L2-normalised; an array or a memory map of any float type, read in
                order of rows.
            epoch: number of the epoch.
            ids: int64 [n], ascending: the database images that the rows of `database` are of; at least those that
                `required_images` gives. None where `database` has a row for each image.
            memory_limit: bytes for the part of the database that is held at a time; nothing else grows with it.

        Raises:
            ValueError: shapes do not fit, a query has no positive, a positive is a definite negative too, or a
                descriptor is not finite.
        """
        ids = np.arange(self.database_size) if ids is None else ids
        self._check_window(queries, descriptors, database, ids)
        positives = [rows_of(np.unique(self.positives[query]), ids) for query in queries]
        near, positive = nearest_candidates(descriptors, database, positives, 1, memory_limit)
        far, negatives = self._hardest(queries, descriptors, database, epoch, ids, memory_limit)
        positive = ids[positive]
        negatives = ids[negatives]
        _check_apart(queries, positive, negatives)
        self.previous_negatives[queries] = negatives
        return MinedTuples(np.concatenate([positive, negatives], axis=1), far[:, 0] - near[:, 0])

    def _hardest(
        self,
        queries: np.ndarray,
        descriptors: np.ndarray,
        database: np.ndarray,
        epoch: int,
        ids: np.ndarray,
        memory_limit: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.mining == "full":
            excluded = [self.non_negatives[query] for query in queries]
            rows = rows_within(memory_limit, descriptors, database)
            return nearest(descriptors, database, self.negatives, rows, excluded)
        candidates = [rows_of(self._candidates(query, epoch), ids) for query in queries.tolist()]
        return nearest_candidates(descriptors, database, candidates, self.negatives, memory_limit)

    def _candidates(self, query: int, epoch: int) -> np.ndarray:
        excluded = self.non_negatives[query]
        rng = np.random.default_rng([self.seed, epoch, query])
        # Drawn with as many spare ones as may have to be dropped, so that `pool` definite negatives remain.
        drawn = rng.choice(self.database_size, min(self.database_size, self.pool + len(excluded)), replace=False)
        drawn = drawn[~np.isin(drawn, excluded)][: self.pool]
        known = self.previous_negatives[query]
        return np.union1d(drawn, known[known >= 0])

    def _check_window(
        self, queries: np.ndarray, descriptors: np.ndarray, database: np.ndarray, ids: np.ndarray
    ) -> None:
        fewest = self.database_size if self.mining == "full" else 0
        if len(descriptors) != len(queries) or not fewest <= len(database) == len(ids):
            raise ValueError(
                f"`descriptors` must have a row for each of the {len(queries)} queries, `database` one for each of the "
                f"{max(fewest, len(ids))} database images. "
                f"Received: descriptors.shape={descriptors.shape}, database.shape={database.shape}"
            )
        without_positive = np.setdiff1d(queries, self.trainable_queries)
        if len(without_positive):
            raise ValueError(
                "`queries` must have a potential positive each; take them from `trainable_queries`. "
                f"Received: query {without_positive[0]}"
            )


def _check_apart(queries: np.ndarray, positive: np.ndarray, negatives: np.ndarray) -> None:
    both = np.flatnonzero((negatives == positive).any(axis=1))
    if len(both):
        raise ValueError(
            "`positives` must be among `non_negatives`: an image would be positive and negative in one tuple. Let the "
            f"radius of definite negatives be the larger one. Received: query {queries[both[0]]}, database image "
            f"{positive[both[0], 0]}"
        )
