"""HTTP requests: read within bounds, answered, and given up where the client has gone."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serving.errors import RequestError, exhausted, invalid_argument
from serving.rpc.backend import Backend
from serving.rpc.calls import Call

CODES = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""TensorFlow Serving's HTTP codes; those that are not here are 500."""
_TOO_LARGE = 413
JSON = "application/json"


class Requests:
    """Answers HTTP requests through the services of a server.

    Args:
        backend: of the server.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._arriving = 0

    async def answer(
        self,
        request: Request,
        method: str,
        answer: Callable[[Call], Awaitable[bytes]],
        data: bytes | None = None,
        media_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The response to a request.

        Args:
            request: the request.
            method: how the log calls it, as in `REST/predict`.
            answer: returns the response's body, or raises RequestError.
            data: what `answer` receives; None for the request's own body.
            media_type: of the body.
            headers: of an answer that is no error.
        """
        limits = self._backend.limits
        body = _Body(request, data, limits.message_bytes, self._counted)
        deadline = time.monotonic() + limits.receive_seconds + limits.seconds
        call = Call(method, "", lambda: self._backend.calls.receiving.read(body), deadline)
        run = self._backend.calls.run(call, _peer(request), request.headers.items(), answer)
        try:
            return Response(await _while_wanted(run, body, call), headers=headers, media_type=media_type)
        except RequestError as error:
            return refusal(error)

    @contextmanager
    def _counted(self) -> Iterator[Callable[[int], None]]:
        """Counts bytes that arrive, as long as they have not arrived all."""
        mine = 0

        def count(size: int) -> None:
            nonlocal mine
            mine += size
            self._arriving += size
            if self._arriving > self._backend.limits.bytes_in_flight:
                raise exhausted(
                    f"The requests that arrive may have at most {self._backend.limits.bytes_in_flight} bytes together "
                    f"(`max_bytes_in_flight`); try again later",
                    "max_bytes_in_flight",
                )

        try:
            yield count
        finally:
            self._arriving -= mine


def refusal(error: RequestError) -> Response:
    """The response that tells an error."""
    code = _TOO_LARGE if error.limit == "max_message_bytes" else CODES.get(error.code, 500)
    headers = {"WWW-Authenticate": "Bearer"} if error.code is grpc.StatusCode.UNAUTHENTICATED else None
    return Response(json.dumps({"error": error.details}), code, headers, JSON)


class _Body:
    """What a request holds.

    Args:
        request: the request.
        data: the contents, where they are known already.
        most: bytes that it may have.
        counted: gives what counts the bytes of all requests.
    """

    def __init__(self, request: Request, data: bytes | None, most: int, counted: Any) -> None:
        self._request = request
        self._data = data
        self._most = most
        self._counted = counted
        self._complete = asyncio.Event()

    async def read(self) -> bytes:
        """The contents."""
        if self._data is None:
            _check_encoding(self._request)
            self._data = await self._received()
        self._complete.set()
        return self._data

    async def gone(self) -> None:
        """Returns once the client has gone, after it had sent all."""
        await self._complete.wait()
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    async def _received(self) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            with self._counted() as count:
                async for chunk in self._request.stream():
                    size += len(chunk)
                    if size > self._most:
                        raise exhausted(
                            f"The request must have at most {self._most} bytes (`max_message_bytes`)",
                            "max_message_bytes",
                        )
                    count(len(chunk))
                    chunks.append(chunk)
                return b"".join(chunks)
        except ClientDisconnect as error:
            raise RequestError(grpc.StatusCode.CANCELLED, "The client has gone") from error


async def _while_wanted(run: Awaitable[bytes], body: _Body, call: Call) -> bytes:
    """Ends work that nobody waits for any more."""
    work = asyncio.ensure_future(run)
    gone = asyncio.ensure_future(body.gone())
    try:
        await asyncio.wait({work, gone}, timeout=call.seconds_left(), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        if gone.done():
            raise RequestError(grpc.StatusCode.CANCELLED, "The client has gone")
        raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "The request took longer than `max_seconds`", "deadline")
    except asyncio.CancelledError as error:
        raise RequestError(grpc.StatusCode.UNAVAILABLE, "The server stops") from error
    finally:
        gone.cancel()
        work.cancel()
        # Its error holds this frame; see `RequestError.without_frames`.
        del work


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise invalid_argument("The request must not be compressed: send it without Content-Encoding")


def _peer(request: Request) -> str:
    """In the form of gRPC, so that a client has one quota for both."""
    if request.client is None:
        return "unknown"
    host = request.client.host
    return f"ipv6:%5B{host}%5D:{request.client.port}" if ":" in host else f"ipv4:{host}:{request.client.port}"
