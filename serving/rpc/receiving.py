"""Requests that arrive: bounded in number and time."""

import asyncio
from typing import Any, Protocol

import grpc

from serving.errors import RequestError, invalid_argument


class Readable(Protocol):
    """A call of gRPC, or of another protocol."""

    async def read(self) -> Any:
        """The bytes of the request, or `grpc.aio.EOF`."""


class Receiving:
    """Reads the requests of calls. One that has begun and sends nothing costs its caller's patience, not a worker.

    Args:
        calls: that may be arriving at the same time. Beyond them the oldest, which has had the longest time to send,
            makes room for the newest.
        seconds: that a request may take to arrive.
    """

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls = calls
        self._seconds = seconds
        self._arriving: dict[asyncio.Timeout, None] = {}

    async def read(self, context: Readable) -> bytes:
        """The bytes of the request of a call.

        Args:
            context: where they come from.

        Raises:
            RequestError: DEADLINE_EXCEEDED, it did not arrive in time; INVALID_ARGUMENT, the call has none.
        """
        self._make_room()
        timeout = asyncio.timeout(self._seconds)
        try:
            async with timeout:
                self._arriving[timeout] = None
                data = await context.read()
        except TimeoutError as error:
            raise RequestError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"The request must arrive within {self._seconds:g} s (`max_receive_seconds`), sooner where more than "
                f"{self._calls} requests arrive at the same time",
                "max_receive_seconds",
            ) from error
        finally:
            self._arriving.pop(timeout, None)
        if data is grpc.aio.EOF:
            raise invalid_argument("The call must have one request")
        return data

    def _make_room(self) -> None:
        if len(self._arriving) >= self._calls:
            oldest = next(iter(self._arriving))
            del self._arriving[oldest]
            if not oldest.expired():
                oldest.reschedule(0)
