"""Dynamic batching: requests that wait for a worker are computed as one."""

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.errors import RequestError
from serving.scheduling.admission import Admission, Ticket


@dataclass(frozen=True)
class BatchingParameters:
    """By TensorFlow Serving's names, as far as they are not the server's own: workers are its batch threads.

    Attributes:
        max_batch_size: images computed together. A request of more is computed by itself.
        batch_timeout_micros: microseconds that a request waits for others before it asks for a worker. More join it
            until it has one.
    """

    max_batch_size: int
    batch_timeout_micros: int = 0

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise ValueError(f"`max_batch_size` must be at least 1. Received: max_batch_size={self.max_batch_size}")
        if self.batch_timeout_micros < 0:
            raise ValueError(
                f"`batch_timeout_micros` must not be negative. "
                f"Received: batch_timeout_micros={self.batch_timeout_micros}"
            )


@dataclass(eq=False)
class Task:
    """A request in a batch.

    Attributes:
        ticket: with which it was let in.
        images: in the request.
        payload: what is handed to the work.
        answer: what the work returned for it.
    """

    ticket: Ticket
    images: int
    payload: Any
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(eq=False)
class _Batch:
    tasks: list[Task] = field(default_factory=list)
    full: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waiting(self) -> list[Task]:
        """Those whose client still waits."""
        return [task for task in self.tasks if not task.answer.done()]

    @property
    def images(self) -> int:
        return sum(task.images for task in self.waiting)


class Batcher:
    """Joins requests. Called on the event loop.

    Args:
        admission: whose workers compute.
        parameters: how many are joined.
    """

    def __init__(self, admission: Admission, parameters: BatchingParameters) -> None:
        self._admission = admission
        self._largest = parameters.max_batch_size
        self._timeout = parameters.batch_timeout_micros / 1e6
        self._open: dict[Hashable, _Batch] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def compute(
        self,
        bucket: Hashable,
        kind: Hashable,
        task: Task,
        seconds_left: float,
        work: Callable[[Sequence[Any]], list[Any]],
    ) -> Any:
        """Computes a request, with others where some wait.

        Args:
            bucket: requests of the same one may be computed as one.
            kind: see `Admission.compute`.
            task: the request.
            seconds_left: until the client's deadline.
            work: returns an answer, or an exception, for each payload.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the work could not end in time. Or the exception that `work` returns.
        """
        self._admission.check_time(task.ticket, kind, task.images, seconds_left)
        batch = self._open.get(bucket)
        if batch is None or batch.images + task.images > self._largest:
            if batch is not None:
                batch.full.set()
            batch = self._begin(bucket, kind, work)
        batch.tasks.append(task)
        if batch.images >= self._largest:
            batch.full.set()
        answer = await task.answer
        if isinstance(answer, RequestError):
            raise answer.without_frames()
        return answer

    def _begin(self, bucket: Hashable, kind: Hashable, work: Callable[[Sequence[Any]], list[Any]]) -> _Batch:
        batch = self._open[bucket] = _Batch()
        running = asyncio.create_task(self._run(batch, bucket, kind, work))
        # The loop itself holds tasks weakly.
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return batch

    async def _run(
        self, batch: _Batch, bucket: Hashable, kind: Hashable, work: Callable[[Sequence[Any]], list[Any]]
    ) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(batch.full.wait(), self._timeout)
        await self._admission.acquire()
        if self._open.get(bucket) is batch:
            del self._open[bucket]
        tasks = batch.waiting
        if not tasks:
            self._admission.release()
            return
        payloads = [task.payload for task in tasks]
        tickets = [task.ticket for task in tasks]
        try:
            answers = await self._admission.run(tickets, kind, batch.images, lambda: work(payloads))
        except Exception as error:
            answers = [error] * len(tasks)
        for task, answer in zip(tasks, answers, strict=True):
            if task.answer.done():
                continue
            if isinstance(answer, Exception) and not isinstance(answer, RequestError):
                task.answer.set_exception(answer)
            else:
                task.answer.set_result(answer)
        # An error may hold this frame.
        del answers, answer
