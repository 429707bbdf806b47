"""Mining of hard negatives from cached descriptors, as NetVLAD's and SARE's training does it."""

from collections.abc import Sequence

import numpy as np


class HardNegativeMiner:
    """Chooses for a query its best positive and its hardest negatives.

    The positive is the potential positive that is nearest in the cached descriptors. The negatives are the nearest of
    `pool` random definite negatives united with those that the same query met last time; they are remembered.

    The random draw of a query depends on (seed, epoch, query) alone. So a resumed run, and any number of workers that
    share the queries, draw the same; only `remembered` is state.

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

    Raises:
        ValueError: no query has a positive, or some query has fewer definite negatives than `negatives`.
    """

    def __init__(
        self,
        positives: Sequence[np.ndarray],
        non_negatives: Sequence[np.ndarray],
        database_size: int,
        negatives: int = 10,
        pool: int = 1000,
        seed: int = 0,
    ) -> None:
        self.positives, self.non_negatives = positives, non_negatives
        self.database_size, self.negatives, self.pool, self.seed = database_size, negatives, max(pool, negatives), seed
        self.trainable_queries = np.array([q for q in range(len(positives)) if len(positives[q])], np.int64)
        self.remembered = np.full((len(positives), negatives), -1, np.int64)
        if not len(self.trainable_queries):
            raise ValueError(
                f"`positives` must give at least one of the {len(positives)} queries a database image nearby: none "
                "has a potential positive. Check the positions' unit (metres) or widen the radius."
            )
        fewest = database_size - max(len(non_negatives[q]) for q in self.trainable_queries)
        if fewest < negatives:
            raise ValueError(
                f"`negatives` must not exceed the definite negatives of any query: one has only {fewest} among "
                f"{database_size} database images. Received: negatives={negatives}"
            )

    def mine(self, query: int, descriptor: np.ndarray, database: np.ndarray, epoch: int) -> np.ndarray:
        """Mines one tuple and remembers its negatives.

        Args:
            query: index of the query.
            descriptor: [D] its cached descriptor, L2-normalised.
            database: [database_size, D] cached descriptors, L2-normalised; may be a memory map.
            epoch: number of the epoch.

        Returns:
            int64 [1 + negatives]: database indices of the positive, then of the negatives, hardest first.
        """
        candidates = self._candidates(query, epoch)
        hardest = _nearest(descriptor, database, candidates, self.negatives)
        self.remembered[query] = hardest
        return np.concatenate([_nearest(descriptor, database, self.positives[query], 1), hardest])

    def _candidates(self, query: int, epoch: int) -> np.ndarray:
        barred = self.non_negatives[query]
        rng = np.random.default_rng([self.seed, epoch, query])
        # Drawn with as many spare ones as may have to be dropped, so that `pool` definite negatives remain.
        drawn = rng.choice(self.database_size, min(self.database_size, self.pool + len(barred)), replace=False)
        drawn = drawn[~np.isin(drawn, barred)][: self.pool]
        known = self.remembered[query]
        return np.union1d(drawn, known[known >= 0])


def _nearest(descriptor: np.ndarray, database: np.ndarray, candidates: np.ndarray, count: int) -> np.ndarray:
    """The `count` candidates with the largest dot product, which for unit vectors are the nearest; ties by index."""
    similarity = database[candidates] @ descriptor
    return np.asarray(candidates)[np.argsort(-similarity, kind="stable")[:count]].astype(np.int64)
