"""The gRPC server around the services."""

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rpc import event_loop
from serving.rpc.access_log import AccessLog
from serving.rpc.backend import Backend
from serving.rpc.bounded_requests import BoundedRequests
from serving.rpc.credentials import Guard, Tokens
from serving.rpc.health import Health
from serving.scheduling.batching import BatchingParameters
from serving.scheduling.quota import Quota

if TYPE_CHECKING:
    from serving.localization.maps import Maps

logger = logging.getLogger(__name__)

# Calls of which nothing but the headers is there, probes, watchers: they cost memory alone.
_MORE_CALLS = 1000
_UNREAD_BYTES = 2**16
_LIMITS = Limits()
# What is left of an answered or cancelled request: its answer is taken apart.
_AFTERMATH_SECONDS = 1.0


@dataclass(frozen=True)
class Access:
    """Who may call, how much, and where it is noted.

    Attributes:
        transport: encryption, see `serving.rpc.credentials.transport`; None for none.
        tokens: those of the clients; None answers everybody.
        quota: of each client; None for none.
        log: gets a line for each call; None for none.
    """

    transport: grpc.ServerCredentials | None = None
    tokens: Tokens | None = None
    quota: Quota | None = None
    log: AccessLog | None = None


_EVERYBODY = Access()


class Listener(Protocol):
    """Another protocol through which the same models are served."""

    async def start(self) -> None:
        """Begins to answer requests; on the event loop of gRPC."""

    async def stop(self, grace: float) -> None:
        """Refuses new requests and waits for those under way; after `grace` seconds they are cancelled."""


class ModelServer:
    """Serves models through TensorFlow Serving's gRPC interface, with gRPC's own health checks and reflection.

    Calls are taken on an event loop and predictions computed by workers, so that health, status and metadata are
    answered also while all workers are busy.

    Args:
        manager: the loaded models.
        host: address to listen on; `0.0.0.0` for every network, an IPv6 address in brackets, `unix:PATH` for a socket
            in the file system, which has no port.
        port: port to listen on; 0 takes a free one.
        max_workers: requests computed at the same time. Each needs the memory of one forward pass.
        max_queue: requests that may wait beyond those. Any more are refused with RESOURCE_EXHAUSTED at once.
        limits: of each request.
        access: who may call.
        batching: how requests are computed together; None for one by one, which processors do as fast.
        maps: see `Backend`.

    Raises:
        ValueError: `max_workers` or `max_queue` is out of range.
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        manager: ModelManager,
        host: str = "127.0.0.1",
        port: int = 8500,
        max_workers: int = 4,
        max_queue: int = 64,
        limits: Limits = _LIMITS,
        access: Access = _EVERYBODY,
        batching: BatchingParameters | None = None,
        maps: "tuple[Maps, str] | None" = None,
    ) -> None:
        self.backend = Backend(
            manager, limits, max_workers, max_queue, access.tokens, access.quota or Quota(), access.log, batching, maps
        )
        self._health = Health(manager, self.backend.localization)
        self._access = access
        self._listeners: list[Listener] = []
        event_loop.run(self._build())
        try:
            self.port, self.address = event_loop.run(self._listen(host, port))
        except RuntimeError as error:
            raise OSError(
                f"`host` and `port` must be an address that this machine has and no program listens on; "
                f"port 0 takes a free one. Received: {host=}, {port=}"
            ) from error

    def add(self, listener: Listener) -> None:
        """Starts and stops another server with this one.

        Args:
            listener: the other one, which answers through `backend`.
        """
        self._listeners.append(listener)

    def start(self) -> None:
        """Begins to answer requests and logs the address."""
        event_loop.run(self._start())
        for name, versions in self.backend.manager.available().items():
            logger.info("serving %s version %s at %s", name, ", ".join(map(str, versions)), self.address)

    def stop(self, grace: float = 10.0) -> bool:
        """Refuses new requests, waits for those under way, then stops. Health says NOT_SERVING from the beginning.

        Args:
            grace: seconds to wait. Requests still under way after that are cancelled: their clients get an error.

        Returns:
            Whether the work of all requests has ended. Otherwise a thread still computes, which nothing can stop but
            the end of the process.
        """
        logger.info("stopping: new requests are refused, those under way get up to %g s", grace)
        try:
            event_loop.run(self._stop(grace), grace + _AFTERMATH_SECONDS)
        except TimeoutError:
            logger.error("calls did not end when they were cancelled")
        ended = self.backend.admission.wait_until_idle(_AFTERMATH_SECONDS)
        self.backend.admission.close()
        if ended:
            logger.info("stopped")
        else:
            logger.error("stopped, with requests that did not end within %g s", grace)
        return ended

    async def _build(self) -> None:
        tokens = self._access.tokens
        self._server = grpc.aio.server(
            interceptors=[*([] if tokens is None else [Guard(tokens)]), BoundedRequests(self.backend.limits)],
            options=[
                # Descriptors outgrow gRPC's 4 MiB at once.
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", self.backend.limits.message_bytes),
                # What gRPC takes of each request that nobody reads yet. It would raise it to megabytes, for each of
                # a thousand calls.
                ("grpc.http2.lookahead_bytes", _UNREAD_BYTES),
                ("grpc.http2.bdp_probe", 0),
                # Otherwise a second server on the same port would start and silently take half of the requests.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=self.backend.places + _MORE_CALLS,
        )
        services = self.backend.services
        self._server.add_generic_rpc_handlers([self.backend.calls.handlers(service) for service in services])
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._server)
        names = [service.name for service in services[:-1]]
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection([*names, health_name, reflection.SERVICE_NAME], self._server)

    async def _listen(self, host: str, port: int) -> tuple[int, str]:
        is_file = host.startswith("unix:")
        address = host if is_file else f"{host}:{port}"
        if is_file and _is_served(host.removeprefix("unix:")):
            raise RuntimeError(f"A program listens on {host}, which gRPC would take away from it")
        if self._access.transport is None:
            taken = self._server.add_insecure_port(address)
        else:
            taken = self._server.add_secure_port(address, self._access.transport)
        return taken, host if is_file else f"{host}:{taken}"

    async def _start(self) -> None:
        await self._health.update()
        self._following = asyncio.create_task(self._health.follow())
        await self._server.start()
        for listener in self._listeners:
            await listener.start()

    async def _stop(self, grace: float) -> None:
        await self._health.servicer.enter_graceful_shutdown()
        self._following.cancel()
        await asyncio.gather(self._server.stop(grace), *(listener.stop(grace) for listener in self._listeners))


def _is_served(path: str) -> bool:
    """Whether a program listens on a socket in the file system; one that was killed leaves it behind."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0
