"""Bounds the requests of services that others have written: health, reflection."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from serving.errors import RequestError
from serving.limits import Limits
from serving.rpc.receiving import Receiving
from serving.wire.parsing import read_small

_TURNS = 2
_CALLS = 64


class BoundedRequests(grpc.aio.ServerInterceptor):
    """Reads requests a few at a time and refuses large ones: gRPC itself would take a thousand of the largest at once.

    Handlers without a deserializer are those of this package, which read for themselves.

    Args:
        limits: of each request.
    """

    def __init__(self, limits: Limits) -> None:
        # Apart from predictions and from each other: a probe waits neither for photos nor for who asks now and then.
        self._single = Receiving(_TURNS, _CALLS, limits.receive_seconds)
        self._streams = Receiving(_TURNS, _CALLS, limits.receive_seconds)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        to_many = grpc.stream_stream_rpc_method_handler
        make = to_many if handler.response_streaming else grpc.stream_unary_rpc_method_handler
        return make(self._bounded(handler), None, handler.response_serializer)

    def _bounded(self, handler: Any) -> Callable[..., Any]:
        async def one(_: Any, context: Any) -> Any:
            return await handler.unary_unary(await self._request(handler, context), context)

        async def stream(_: Any, context: Any) -> None:
            await handler.unary_stream(await self._request(handler, context), context)

        async def streams(_: Any, context: Any) -> AsyncIterator[Any]:
            async for response in handler.stream_stream(self._requests(handler, context), context):
                yield response

        if handler.request_streaming:
            return streams
        return stream if handler.response_streaming else one

    async def _request(self, handler: Any, context: Any) -> Any:
        try:
            return _parsed(handler, await self._single.read(context))
        except RequestError as error:
            await context.abort(error.code, error.details)

    async def _requests(self, handler: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while (data := await self._streams.read_next(context)) is not grpc.aio.EOF:
                yield _parsed(handler, data)
        except RequestError as error:
            await context.abort(error.code, error.details)


def _parsed(handler: Any, data: bytes) -> Any:
    return read_small(handler.request_deserializer, data, "The request is not one of this method")
