"""The processes that share one training run, and how they share out work."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 << 20
"""What one worker sends at a time: a matrix larger than memory is gathered through a buffer of this many bytes."""

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)
"""What TensorFlow raises in the workers that are left, depending on where they stand when another one stops."""


class WorkerLostError(RuntimeError):
    """Another worker of the run stopped, so that this one cannot go on."""


class Workers:
    """The worker processes of a strategy: this one's part of some work, and everybody's results.

    MultiWorkerMirroredStrategy runs the same program in several processes. What every process would compute alike, such
    as the descriptors of the whole database, is cut into one contiguous part a worker instead. All other strategies
    have one worker, for which `shard` is everything and `all_gather` returns what it is given.

    Every worker must make the same calls of `all_gather`, `broadcast` and `barrier` in the same order.

    Args:
        strategy: of the run.

    Attributes:
        count: number of workers.
        index: of this one, from 0.
        is_chief: whether this is the worker that writes files: exactly one is.
        local_replicas: number of replicas of this worker; all have the same.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self.strategy = strategy
        resolver = strategy.cluster_resolver
        tasks = _tasks(resolver.cluster_spec().as_dict()) if resolver is not None else []
        self.count = max(len(tasks), 1)
        self.index = tasks.index((resolver.task_type, resolver.task_id)) if self.count > 1 else 0
        self.is_chief = self.index == 0
        self.local_replicas = strategy.num_replicas_in_sync // self.count
        self._gathers: dict[np.dtype, Any] = {}

    def shard(self, n: int) -> np.ndarray:
        """Positions of this worker's part of `n` things, int64 ascending; the parts differ in size by one at most."""
        bounds = self._bounds(n)
        return np.arange(bounds[self.index], bounds[self.index + 1])

    def all_gather(self, rows: np.ndarray, n: int) -> np.ndarray:
        """Puts the rows of all workers together.

        Args:
            rows: [len(shard(n)), ...] float16, float32, float64, int32 or int64, for the positions `shard(n)`.
            n: number of rows of all workers together.

        Returns:
            [n, ...] in the order of the positions, on every worker; `rows` itself where there is one worker.

        Raises:
            ValueError: `rows` has not the length of this worker's shard.
            WorkerLostError: another worker stopped.
        """
        own = self.shard(n)
        if len(rows) != len(own):
            raise ValueError(
                f"`rows` must have one row for each of the {len(own)} positions that worker {self.index} of "
                f"{self.count} has of {n}. Received: rows of shape {rows.shape}"
            )
        if self.count == 1:
            return rows
        out = np.empty((n, *rows.shape[1:]), rows.dtype)
        out[own] = rows
        self.all_gather_into(out)
        return out

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        """The chief's values, on every worker.

        Args:
            values: what this worker has, of the chief's shape and dtype; see `all_gather`.

        Raises:
            WorkerLostError: another worker stopped.
        """
        return self.all_gather(values[None], self.count)[0]

    def all_gather_into(self, out: np.ndarray) -> None:
        """Completes an array of which each worker has filled its own part, in place.

        Args:
            out: [n, ...], for example a `np.memmap`; the rows `shard(n)` are this worker's, the others are overwritten.

        Raises:
            WorkerLostError: another worker stopped.
        """
        if self.count == 1:
            return
        bounds = self._bounds(len(out))
        longest = int(np.diff(bounds).max())
        piece = max(1, PIECE_BYTES // max(1, out.itemsize * int(np.prod(out.shape[1:]))))
        for start in range(0, longest, piece):
            parts = [
                slice(min(a + start, b), min(a + start + piece, b)) for a, b in zip(bounds, bounds[1:], strict=False)
            ]
            received = self.exchange(out[parts[self.index]])
            for part in parts:
                size = part.stop - part.start
                if part != parts[self.index]:
                    out[part] = received[:size]
                received = received[size:]

    def barrier(self) -> None:
        """Waits until all workers are here.

        Raises:
            WorkerLostError: another worker stopped.
        """
        if self.count > 1:
            self.exchange(np.zeros(1, np.int64))

    @contextmanager
    def explain_loss(self) -> Iterator[None]:
        """Turns what TensorFlow raises in the block because another worker stopped into an error that says so.

        Raises:
            WorkerLostError: another worker stopped.
        """
        try:
            yield
        except _LOST as error:
            if self.count == 1:
                raise
            raise WorkerLostError(
                f"Worker {self.index} of {self.count} cannot go on: another worker stopped or cannot be reached; its "
                "own output tells why. Start all workers again and resume the run: it "
                "continues from the last checkpoint. "
                f"TensorFlow says: {error.message}"
            ) from error

    def _bounds(self, n: int) -> np.ndarray:
        """Where the workers' parts of `n` things begin, and the end of the last."""
        return np.arange(self.count + 1) * n // self.count

    def exchange(self, rows: np.ndarray) -> np.ndarray:
        """The rows of all workers, one after the other."""
        # They travel in equal parts over a worker's replicas, and flat: then one function does for all shapes. Outside
        # of a function, TensorFlow makes and traces one at every call. Traced by hand, those of several objects do not
        # look to TensorFlow like one that is traced again and again, of which it warns.
        if rows.dtype not in self._gathers:
            signature = [[tf.TensorSpec([None], rows.dtype)] * self.local_replicas]
            function = tf.function(self._gather_parts, input_signature=signature, autograph=False)
            self._gathers[rows.dtype] = function.get_concrete_function()
        parts = [tf.constant(part) for part in np.array_split(rows.reshape(-1), self.local_replicas)]
        with self.explain_loss():
            return self._gathers[rows.dtype](parts).numpy().reshape(-1, *rows.shape[1:])

    def _gather_parts(self, parts: list[Any]) -> Any:
        """One part for each replica of this worker, to all parts in the order of the workers and their replicas."""
        remaining = iter(parts)
        values = self.strategy.experimental_distribute_values_from_function(lambda _: next(remaining))
        return self.strategy.gather(values, axis=0)


def _tasks(cluster: dict[str, list[str]]) -> list[tuple[str, int]]:
    """All tasks that train, in the order of TensorFlow's replica ids: the chief, where there is one, comes first."""
    return [(job, i) for job in ("chief", "worker") for i in range(len(cluster.get(job, ())))]
