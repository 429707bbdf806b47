"""How a server is reached: addresses, encryption, a token, sizes of messages."""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

logger = logging.getLogger(__name__)

_OF_THIS_MACHINE = re.compile(r"(dns:/*)?(localhost|127\.[\d.]+|\[::1\])(:|$)|unix:|unix-abstract:")
_FIRST_RECONNECT_MS = 200
_RECONNECT_MS = 2000
MAX_MESSAGE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Connection:
    """What a channel to a server is made of.

    Attributes:
        tls: whether the connection is encrypted. The certificate is checked against `ca`.
        ca: PEM file of the authorities that are trusted; None for those that gRPC brings.
        cert: PEM file of the client's own certificate, for mutual TLS.
        key: PEM file of its private key.
        token: sent with each request as `authorization: Bearer TOKEN`. Give it only where `tls` is on, or to a server
            of this machine.
        max_message_bytes: of a request or an answer; gRPC's own 4 MiB are less than 256 descriptors of 4096 numbers.

    Raises:
        ValueError: these do not go together.
    """

    tls: bool = False
    ca: str | os.PathLike[str] | None = None
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    token: str | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES

    def __post_init__(self) -> None:
        if not self.tls and (self.ca or self.cert or self.key):
            raise ValueError(
                f"`ca`, `cert` and `key` must come with `tls`; turn it on. Received: tls=False, ca={self.ca}, "
                f"cert={self.cert}, key={self.key}"
            )
        if bool(self.cert) != bool(self.key):
            raise ValueError(f"`cert` and `key` must come together. Received: cert={self.cert}, key={self.key}")
        if self.token is not None and not re.fullmatch(r"[!-~]+", self.token):
            raise ValueError("`token` must be printable ASCII without spaces, and not empty. Received: another one")
        if self.max_message_bytes < 1:
            raise ValueError(
                f"`max_message_bytes` must be at least 1. Received: max_message_bytes={self.max_message_bytes}"
            )

    def channel(self, address: str) -> Any:
        """Makes a channel; nothing is connected yet.

        Args:
            address: `host:port`, `unix:/path` or another name that gRPC knows.

        Raises:
            OSError: a PEM file cannot be read.
        """
        return self._made(address, grpc)

    def async_channel(self, address: str) -> Any:
        """As `channel`, for `grpc.aio`."""
        import grpc.aio

        return self._made(address, grpc.aio)

    def metadata(self) -> list[tuple[str, str]]:
        """What is sent beside each request."""
        return [] if self.token is None else [("authorization", f"Bearer {self.token}")]

    def _made(self, address: str, library: Any) -> Any:
        options = [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            # gRPC would wait up to two minutes before it looks again for a server that was restarted.
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
        ]
        if self.tls:
            return library.secure_channel(address, self._credentials(), options=options)
        if self.token is not None and not _OF_THIS_MACHINE.match(address):
            logger.warning("The token is sent to %s without encryption: whoever is between can read it", address)
        return library.insecure_channel(address, options=options)

    def _credentials(self) -> Any:
        read = [None if file is None else Path(file).read_bytes() for file in (self.ca, self.key, self.cert)]
        return grpc.ssl_channel_credentials(*read)
