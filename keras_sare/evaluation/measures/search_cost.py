"""What a search takes: time and memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from keras_sare.evaluation.measures.environment import peak_bytes


@dataclass
class SearchCost:
    """What a search took.

    Attributes:
        seconds: wall time of the search of all queries, reading the database included.
        seconds_per_query: the share of one.
        database_bytes: size of the database's descriptors.
        peak_bytes: most memory that the process has had so far, also before; None where the system does not tell.
    """

    seconds: float = 0.0
    seconds_per_query: float = 0.0
    database_bytes: int = 0
    peak_bytes: int | None = None


@contextmanager
def search_cost(queries: np.ndarray, database: np.ndarray) -> Iterator[SearchCost]:
    """Measures what the block takes to search; the cost is known when it ends.

    Args:
        queries: [Q, D].
        database: [N, D].
    """
    cost = SearchCost()
    started = time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - started
    cost.seconds_per_query = cost.seconds / len(queries)
    cost.database_bytes = database.nbytes
    cost.peak_bytes = peak_bytes()
