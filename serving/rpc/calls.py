"""What every call goes through, whatever its method: who calls, the request, the answer or the error, the log."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from serving.errors import RequestError
from serving.rpc.access_log import AccessLog, ClientErrors
from serving.rpc.credentials import Tokens
from serving.rpc.receiving import Receiving

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Call:
    """A call that is being answered, and what its line in the access log says.

    Attributes:
        method: full name, as in `/tensorflow.serving.PredictionService/Predict`.
        client: name of the token's owner, or without tokens the caller's address without its port.
        receive: reads the request's bytes; once.
        deadline: of the client, in seconds of `time.monotonic`; infinite where there is none.
        fields: for the access log.
    """

    method: str
    client: str
    receive: Callable[[], Awaitable[bytes]]
    deadline: float
    fields: dict[str, Any] = field(default_factory=dict)

    def seconds_left(self) -> float:
        """Until the client's deadline."""
        return self.deadline - time.monotonic()


class Service(Protocol):
    """A service of gRPC."""

    name: str
    """Full, as in `tensorflow.serving.PredictionService`."""

    @property
    def methods(self) -> dict[str, Callable[[Call], Awaitable[bytes]]]:
        """Name of each method to what returns the answer's bytes, or raises RequestError."""


class Calls:
    """Makes the handlers of gRPC out of what answers a call.

    Args:
        receiving: reads the requests.
        tokens: whose calls are answered; None for everybody's.
        access_log: gets a line for each call.
    """

    def __init__(self, receiving: Receiving, tokens: Tokens | None, access_log: AccessLog | None) -> None:
        self._receiving = receiving
        self._tokens = tokens
        self._access_log = access_log
        self._client_errors = ClientErrors()

    def handlers(self, service: Service) -> grpc.GenericRpcHandler:
        """The handlers of a service's methods."""
        handlers = {name: self._handler(f"/{service.name}/{name}", answer) for name, answer in service.methods.items()}
        return grpc.method_handlers_generic_handler(service.name, handlers)

    def client_of(self, context: grpc.aio.ServicerContext) -> str:
        """Who calls.

        Raises:
            RequestError: UNAUTHENTICATED, the call must carry a token and has none of ours.
        """
        if self._tokens is not None:
            return self._tokens.client(context.invocation_metadata() or ())
        return context.peer().rpartition(":")[0] or context.peer()

    def _handler(self, method: str, answer: Callable[[Call], Awaitable[bytes]]) -> grpc.RpcMethodHandler:
        async def handle(_: Any, context: grpc.aio.ServicerContext) -> bytes:
            return await self._handle(method, answer, context)

        # As a stream of requests, although there is one: so the method is asked before the request is received.
        return grpc.stream_unary_rpc_method_handler(handle)

    async def _handle(
        self, method: str, answer: Callable[[Call], Awaitable[bytes]], context: grpc.aio.ServicerContext
    ) -> bytes:
        began = time.monotonic()
        remaining = context.time_remaining()
        call = Call(
            method, "", lambda: self._receiving.read(context), math.inf if remaining is None else began + remaining
        )
        code = grpc.StatusCode.CANCELLED
        response = b""
        try:
            call.client = self.client_of(context)
            response = await answer(call)
            code = grpc.StatusCode.OK
            return response
        except RequestError as error:
            code = error.code
            self._client_errors.tell(method.rpartition("/")[2], code.name, error.details)
            await context.abort(code, error.details)
        except Exception:
            code = grpc.StatusCode.INTERNAL
            logger.exception("%s failed", method)
            await context.abort(code, "The server failed; its log tells why")
        except asyncio.CancelledError:
            if call.seconds_left() <= 0:
                code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        finally:
            self._log(call, context.peer(), code, len(response), time.monotonic() - began)
        raise AssertionError("abort raises")

    def _log(self, call: Call, peer: str, code: grpc.StatusCode, sent: int, seconds: float) -> None:
        if self._access_log is None:
            return
        self._access_log.write(
            {
                "time": time.time(),
                "peer": peer,
                "client": call.client,
                "method": call.method,
                **call.fields,
                "bytes_out": sent,
                "seconds": seconds,
                "code": code.name,
            }
        )
