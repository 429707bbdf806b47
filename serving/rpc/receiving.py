"""Requests that arrive: bounded in number, bytes and time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, Protocol

import grpc

from serving.errors import RequestError, exhausted, invalid_argument

TURN_SECONDS = 0.1
"""That a request has to arrive where another one waits for its turn; less where more wait than there are turns."""
_LEAST_SECONDS = 0.01


class Readable(Protocol):
    """A call of gRPC, or of another protocol."""

    async def read(self) -> Any:
        """The bytes of the request, or `grpc.aio.EOF`."""


class Receiving:
    """Reads the requests of calls. One that has begun and sends nothing costs its caller's patience, not a worker.

    gRPC does not say how large a request is before it has all of it. So only a few are read at a time, and each may be
    the largest. The others wait for their turn, within the little that gRPC takes of a request that nobody reads. A
    turn ends with the request, which is at once where it has come already; where others wait, the oldest makes room
    once it has had its time. The more wait, the shorter that is: each gets its turn within about 0.1 seconds, however
    many calls a stranger begins.

    Args:
        turns: requests that are read at the same time.
        calls: that may be arriving, with those that wait for their turn. Beyond them the oldest, which has had the
            longest time to send, makes room for the newest.
        seconds: that a request may take to arrive.
    """

    def __init__(self, turns: int, calls: int, seconds: float) -> None:
        self._turns = turns
        self._calls = calls
        self._seconds = seconds
        self._arriving: dict[asyncio.Timeout, None] = {}
        # Those that are read, and when each began.
        self._reading: dict[asyncio.Timeout, float] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def read(self, context: Readable) -> bytes:
        """The bytes of the request of a call.

        Args:
            context: where they come from.

        Raises:
            RequestError: DEADLINE_EXCEEDED, it did not arrive in time; RESOURCE_EXHAUSTED, it made room for others;
                INVALID_ARGUMENT, the call has none.
        """
        data = await self.read_next(context)
        if data is grpc.aio.EOF:
            raise invalid_argument("The call must have one request")
        return data

    async def read_next(self, context: Readable) -> Any:
        """As `read`, of a call that may have several requests: `grpc.aio.EOF` after the last."""
        self._make_room()
        timeout = asyncio.timeout(self._seconds)
        ends = timeout.when()
        try:
            async with timeout:
                self._arriving[timeout] = None
                async with self._turn(timeout):
                    return await context.read()
        except TimeoutError as error:
            raise self._late(made_room=timeout.when() != ends) from error
        finally:
            self._arriving.pop(timeout, None)

    def _late(self, made_room: bool) -> RequestError:
        if made_room:
            return exhausted(
                f"More than {self._turns} requests arrive at the same time (`max_bytes_in_flight` / "
                f"`max_message_bytes`), and this one had the longest time; try again later",
                "max_bytes_in_flight",
            )
        return RequestError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"The request must arrive within {self._seconds:g} s (`max_receive_seconds`)",
            "max_receive_seconds",
        )

    @asynccontextmanager
    async def _turn(self, timeout: asyncio.Timeout) -> AsyncIterator[None]:
        """Waits until the request may be read."""
        while len(self._reading) >= self._turns:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            self._hurry()
            try:
                await waiting
            except asyncio.CancelledError:
                self._pass_on(waiting)
                raise
        self._reading[timeout] = asyncio.get_running_loop().time()
        self._hurry()
        try:
            yield
        finally:
            del self._reading[timeout]
            self._wake_next()

    def _pass_on(self, waiting: asyncio.Future[None]) -> None:
        """Gives up waiting; a turn that was given meanwhile is another's."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        else:
            self._wake_next()

    def _wake_next(self) -> None:
        if self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)

    def _hurry(self) -> None:
        """Lets as many of the oldest make room as others wait, once each has had its time."""
        waiting = len(self._waiting)
        seconds = max(TURN_SECONDS * self._turns / max(waiting, self._turns), _LEAST_SECONDS)
        for timeout, began in islice(self._reading.items(), waiting):
            _end(timeout, began + seconds)

    def _make_room(self) -> None:
        if len(self._arriving) >= self._calls:
            oldest = next(iter(self._arriving))
            del self._arriving[oldest]
            _end(oldest, 0)


def _end(timeout: asyncio.Timeout, when: float) -> None:
    """Ends a wait at a time, where it would take longer."""
    ends = timeout.when()
    if not timeout.expired() and ends is not None and when < ends:
        timeout.reschedule(when)
