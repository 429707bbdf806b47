"""Which predictions are let in: places, bytes, and whether one can end in time."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import grpc

from serving.errors import RequestError, exhausted

T = TypeVar("T")

# Weight of the newest request in the average of seconds an image.
_NEWEST = 0.2
# The wait is an estimate, and one that is too short costs a computation that nobody waits for.
_WAIT_MARGIN = 2.0


@dataclass(eq=False)
class Ticket:
    """A prediction that was let in.

    Attributes:
        size: bytes of its request.
        expected: seconds that its computation is thought to take.
        entered: when it began to wait for a worker.
        computing: whether it has a worker.
        queue_seconds: that it waited for one.
        compute_seconds: that the worker took.
        held: what is let go of when the prediction has ended, such as the model's version.
    """

    size: int
    expected: float = 0.0
    entered: float = 0.0
    computing: bool = False
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    held: ExitStack = field(default_factory=ExitStack)


class Load(NamedTuple):
    """How much of a server is used.

    Attributes:
        queued: predictions that were let in and have no worker yet.
        computing: predictions that have one.
        bytes_in_flight: of the requests of both.
    """

    queued: int
    computing: int
    bytes_in_flight: int


class Admission:
    """Bounds the predictions of a server and runs them, a few at a time.

    All methods but `wait_until_idle` are called on the event loop. A ticket is held until the work ends, also where
    its client has gone: until then it takes memory and a worker.

    Args:
        workers: predictions computed at the same time.
        queue: predictions that may wait beyond those.
        bytes_in_flight: see `Limits`.
        clock: seconds, for the times.
    """

    def __init__(
        self, workers: int, queue: int, bytes_in_flight: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._workers = workers
        self._places = workers + queue
        self._bytes = bytes_in_flight
        self._clock = clock
        self._tickets: set[Ticket] = set()
        self._average: dict[object, float] = {}
        self._free = asyncio.Semaphore(workers)
        self._running: set[Future] = set()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prediction")

    @contextmanager
    def admitted(self, size: int) -> Iterator[Ticket]:
        """Lets a request in, before it is parsed.

        Args:
            size: bytes of the request.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, places or bytes are used up.
        """
        if len(self._tickets) >= self._places:
            raise exhausted(
                f"The server computes and queues at most {self._places} requests (`max_workers` + `max_queue`); "
                f"try again later",
                "max_queue",
            )
        in_flight = sum(ticket.size for ticket in self._tickets)
        if in_flight + size > self._bytes:
            raise exhausted(
                f"The requests under way may have at most {self._bytes} bytes together (`max_bytes_in_flight`); try "
                f"again later. Received: {size} bytes beside {in_flight}",
                "max_bytes_in_flight",
            )
        ticket = Ticket(size)
        self._tickets.add(ticket)
        try:
            yield ticket
        finally:
            if not ticket.computing:
                self._leave(ticket)

    async def compute(self, ticket: Ticket, kind: object, images: int, seconds_left: float, work: Callable[[], T]) -> T:
        """Runs the work of a request on a worker. Cancelled before it has one, it is not run.

        Args:
            ticket: of the request.
            kind: what requests of about the same cost an image have in common, such as model and signature.
            images: in the request; one without any counts as one of one.
            seconds_left: until the client's deadline.
            work: what to run.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the work could not end in time. Or whatever `work` raises.
        """
        self.check_time(ticket, kind, images, seconds_left)
        await self.acquire()
        return await self.run([ticket], kind, images, work)

    async def acquire(self) -> None:
        """Waits for a worker. Then `run` or `release` must follow."""
        await self._free.acquire()

    def release(self) -> None:
        """Gives a worker back that has nothing to do."""
        self._free.release()

    async def run(self, tickets: Sequence[Ticket], kind: object, images: int, work: Callable[[], T]) -> T:
        """Runs work on the worker that was waited for.

        Args:
            tickets: of the requests that it answers.
            kind: see `compute`.
            images: in all of them.
            work: what to run.

        Raises:
            Exception: whatever `work` raises.
        """
        started = self._clock()
        for ticket in tickets:
            ticket.computing = True
            ticket.queue_seconds = started - ticket.entered
        loop = asyncio.get_running_loop()

        def end(future: Future) -> None:
            seconds = self._clock() - started
            for ticket in tickets:
                ticket.compute_seconds = seconds
                # On the worker, because the end of a model that was waiting for this takes time.
                ticket.held.close()
            loop.call_soon_threadsafe(self._end, tickets, kind, seconds / max(images, 1), future)

        future = self._pool.submit(work)
        self._running.add(future)
        future.add_done_callback(end)
        try:
            return await asyncio.wrap_future(future)
        finally:
            # An error would hold this frame, and this frame the error; see `RequestError.without_frames`.
            del future

    @property
    def load(self) -> Load:
        """What is used at this moment."""
        computing = sum(ticket.computing for ticket in self._tickets)
        return Load(len(self._tickets) - computing, computing, sum(ticket.size for ticket in self._tickets))

    def check_time(self, ticket: Ticket, kind: object, images: int, seconds_left: float) -> None:
        """Refuses what could not end in time.

        Args:
            ticket: of the request.
            kind: see `compute`.
            images: see `compute`.
            seconds_left: until the client's deadline.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, it could not.
        """
        ahead = [other.expected for other in self._tickets if other is not ticket]
        ticket.entered = self._clock()
        ticket.expected = max(images, 1) * self._average.get(kind, 0.0)
        # With a worker free it is tried: the average may be that of a slow first request, and is only mended so.
        if len(ahead) < self._workers:
            return
        waiting = sum(ahead) / self._workers
        if _WAIT_MARGIN * waiting + ticket.expected > seconds_left:
            raise exhausted(
                f"The request would wait about {waiting:.2g} s and take {ticket.expected:.2g} s, and its deadline is "
                f"in {seconds_left:.2g} s; try again later, or with a later deadline",
                "deadline",
            )

    def wait_until_idle(self, timeout: float) -> bool:
        """Waits until nothing is computed any more; called from any thread.

        Args:
            timeout: seconds to wait.

        Returns:
            Whether that was so in time.
        """
        return not wait(list(self._running), timeout).not_done

    def close(self) -> None:
        """Takes no more work; what runs goes on."""
        self._pool.shutdown(wait=False)

    def _leave(self, ticket: Ticket) -> None:
        self._tickets.discard(ticket)
        ticket.held.close()

    def _end(self, tickets: Sequence[Ticket], kind: object, seconds_an_image: float, future: Future) -> None:
        self._running.discard(future)
        for ticket in tickets:
            self._leave(ticket)
        self._free.release()
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            average = self._average.get(kind, seconds_an_image)
            self._average[kind] = average + _NEWEST * (seconds_an_image - average)
        elif isinstance(error, RequestError) and error.code == grpc.StatusCode.DEADLINE_EXCEEDED:
            # It would have taken longer yet.
            self._average[kind] = max(self._average.get(kind, 0.0), seconds_an_image)
