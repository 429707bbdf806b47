"""Asks for the token before reflection, which does not ask itself."""

from collections.abc import Awaitable, Callable

import grpc

from serving.errors import RequestError
from serving.rpc.credentials import Tokens

_GUARDED = "/grpc.reflection."


class Guard(grpc.aio.ServerInterceptor):
    """Lets calls of reflection through where they have a token.

    Args:
        tokens: of the clients.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Puts a refusal in place of the handler."""
        handler = await continuation(handler_call_details)
        if not handler_call_details.method.startswith(_GUARDED):
            return handler
        try:
            self._tokens.client(handler_call_details.invocation_metadata)
        except RequestError as error:
            return _refusal(error)
        return handler


def _refusal(error: RequestError) -> grpc.RpcMethodHandler:
    async def refuse(_: object, context: grpc.aio.ServicerContext) -> None:
        await context.abort(error.code, error.details)

    return grpc.stream_unary_rpc_method_handler(refuse)
