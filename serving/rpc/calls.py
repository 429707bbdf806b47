"""What every call goes through, whatever its method: who calls, the request, the answer or the error, the log."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
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

    def limited(self, seconds: float) -> "Call":
        """The same call with the deadline of a computation that begins now, also where its client has none."""
        return replace(self, deadline=min(self.deadline, time.monotonic() + seconds))

    def check_time(self) -> None:
        """Ends work whose result nobody waits for any more.

        Raises:
            RequestError: DEADLINE_EXCEEDED, the client's deadline is over.
        """
        if self.seconds_left() <= 0:
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "The deadline was over before the answer", "deadline")


class Service(Protocol):
    """A service of gRPC."""

    name: str
    """Full, as in `tensorflow.serving.PredictionService`."""

    @property
    def methods(self) -> dict[str, Callable[[Call], Awaitable[bytes]]]:
        """Name of each method to what returns the answer's bytes, or raises RequestError."""


Metadata = Iterable[tuple[str, str | bytes]]
Observer = Callable[[Call, RequestError | None, grpc.StatusCode, float], None]


class Calls:
    """Answers calls; makes the handlers of gRPC out of what answers one.

    Args:
        receiving: reads the requests.
        tokens: whose calls are answered; None for everybody's.
        access_log: gets a line for each call; None for none.
        observe: gets each call that has ended, the error or None where it was answered, its code and its seconds.
    """

    def __init__(
        self,
        receiving: Receiving,
        tokens: Tokens | None,
        access_log: AccessLog | None,
        observe: Observer = lambda *_: None,
    ) -> None:
        self.receiving = receiving
        self._tokens = tokens
        self._access_log = access_log
        self._observe = observe
        self._client_errors = ClientErrors()

    def handlers(self, service: Service) -> grpc.GenericRpcHandler:
        """The handlers of a service's methods."""
        handlers = {name: self._handler(f"/{service.name}/{name}", answer) for name, answer in service.methods.items()}
        return grpc.method_handlers_generic_handler(service.name, handlers)

    async def run(
        self,
        call: Call,
        peer: str,
        metadata: Iterable[tuple[str, str | bytes]],
        answer: Callable[[Call], Awaitable[bytes]],
    ) -> bytes:
        """Answers a call, and notes it in the log.

        Args:
            call: the call; its client is found out here.
            peer: address of the caller with its port, in gRPC's form, as in `ipv4:127.0.0.1:50000`.
            metadata: of the call, names in lower case.
            answer: returns the answer's bytes, or raises RequestError.

        Raises:
            RequestError: whatever the caller must be told; INTERNAL, where `answer` raised something else.
        """
        began = time.monotonic()
        code = grpc.StatusCode.CANCELLED
        refusal = None
        response = b""
        try:
            call.client = self._client(peer, metadata)
            response = await answer(call)
            code = grpc.StatusCode.OK
            return response
        except RequestError as error:
            refusal = error
            code = error.code
            self._client_errors.tell(call.method.rpartition("/")[2], code.name, error.details)
            raise
        except Exception as error:
            code = grpc.StatusCode.INTERNAL
            logger.exception("%s failed", call.method)
            raise RequestError(code, "The server failed; its log tells why") from error
        except asyncio.CancelledError:
            if call.seconds_left() <= 0:
                code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        finally:
            seconds = time.monotonic() - began
            self._observe(call, refusal, code, seconds)
            self._log(call, peer, code, len(response), seconds)
            # It holds this frame; see `RequestError.without_frames`.
            del refusal

    def _client(self, peer: str, metadata: Metadata) -> str:
        if self._tokens is not None:
            return self._tokens.client(metadata)
        return peer.rpartition(":")[0] or peer

    def _handler(self, method: str, answer: Callable[[Call], Awaitable[bytes]]) -> grpc.RpcMethodHandler:
        async def handle(_: Any, context: grpc.aio.ServicerContext) -> bytes:
            return await self._handle(method, answer, context)

        # As a stream of requests, although there is one: so the method is asked before the request is received.
        return grpc.stream_unary_rpc_method_handler(handle)

    async def _handle(
        self, method: str, answer: Callable[[Call], Awaitable[bytes]], context: grpc.aio.ServicerContext
    ) -> bytes:
        remaining = context.time_remaining()
        deadline = math.inf if remaining is None else time.monotonic() + remaining
        call = Call(method, "", lambda: self.receiving.read(context), deadline)
        try:
            return await self.run(call, context.peer(), context.invocation_metadata() or (), answer)
        except RequestError as error:
            code = error.code
            details = error.details
        # Not above: gRPC holds what `abort` raises, that would hold the error, and the error the request.
        await context.abort(code, details)
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
