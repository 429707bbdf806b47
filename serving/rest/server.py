"""The HTTP server around the REST interface."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.rest.app import MoreRoutes, rest_app
from serving.rpc.backend import Backend

logger = logging.getLogger(__name__)

# Connections beyond those of predictions: of probes, and such as wait for their next request.
_MORE_CONNECTIONS = 1000
_HEADER_SECONDS = 10.0
_BACKLOG = 1024
_AFTERMATH_SECONDS = 0.5


@dataclass(frozen=True)
class TlsFiles:
    """What encrypts: PEM files.

    Attributes:
        certificate: of the server, with those that signed it.
        key: its private key.
        client_ca: certificates that sign those of clients, which then need one; None for clients without.
    """

    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str]
    client_ca: str | os.PathLike[str] | None = None


class RestServer:
    """Serves the models of a gRPC server through HTTP, on the same event loop and within the same bounds.

    Args:
        backend: of the gRPC server.
        host: address to listen on, of a network.
        port: port to listen on; 0 takes a free one.
        tls: encrypts; None for plain HTTP.
        more: see `rest_app`.

    Raises:
        OSError: the address cannot be listened on.

    Example:

    >>> server = ModelServer(manager)
    >>> server.add(RestServer(server.backend))
    >>> server.start()
    """

    def __init__(
        self,
        backend: Backend,
        host: str = "127.0.0.1",
        port: int = 8501,
        tls: TlsFiles | None = None,
        more: Sequence[MoreRoutes] = (),
    ) -> None:
        self._socket = _listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.address = f"{'http' if tls is None else 'https'}://{host}:{self.port}"
        config = uvicorn.Config(
            rest_app(backend, more),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # It tells what strangers do wrong, as often as they do.
            log_level="error",
            access_log=False,
            # Whoever connects could make up another address, and with it a quota.
            proxy_headers=False,
            server_header=False,
            limit_concurrency=backend.places + _MORE_CONNECTIONS,
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
            ssl_ca_certs=None if tls is None or tls.client_ca is None else os.fspath(tls.client_ca),
            ssl_cert_reqs=ssl.CERT_NONE if tls is None or tls.client_ca is None else ssl.CERT_REQUIRED,
        )
        self._server = uvicorn.Server(config)

    async def start(self) -> None:
        """See `Listener.start`."""
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        logger.info("serving REST at %s", self.address)

    async def stop(self, grace: float) -> None:
        """See `Listener.stop`."""
        self._server.should_exit = True
        _, unfinished = await asyncio.wait({self._serving}, timeout=grace)
        if not unfinished:
            return
        for task in list(self._server.server_state.tasks):
            task.cancel()
        self._server.force_exit = True
        await asyncio.wait({self._serving}, timeout=_AFTERMATH_SECONDS)


class _Protocol(H11Protocol):
    """Closes connections on which no request begins, or none of which the head ends."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self.loop.call_later(_HEADER_SECONDS, self._close_if_idle, None)

    def _close_if_idle(self, before: object) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is before and (before is None or self.cycle.response_complete):
            self.transport.close()
            return
        self.loop.call_later(_HEADER_SECONDS, self._close_if_idle, self.cycle)


def _listening(host: str, port: int) -> socket.socket:
    name = host.removeprefix("[").removesuffix("]")
    # asyncio sends small pieces at once only where the protocol is named, as `socket.create_server` does not.
    listening = socket.socket(
        socket.AF_INET6 if ":" in name else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((name, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise OSError(
            f"`host` and `rest_port` must be an address that this machine has and no program listens on; port 0 takes "
            f"a free one. Received: {host=}, rest_port={port}"
        ) from error
    return listening
