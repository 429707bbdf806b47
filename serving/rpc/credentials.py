"""Who may call: encryption, certificates and tokens."""

import hmac
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import grpc

from serving.errors import RequestError

MIN_TOKEN = 16
"""Characters of a token."""
_KEY = "authorization"
_SCHEME = "Bearer "
_GUARDED = "/grpc.reflection."


def transport(
    certificate: str | os.PathLike[str], key: str | os.PathLike[str], client_ca: str | os.PathLike[str] | None = None
) -> grpc.ServerCredentials:
    """Encryption for a server.

    Args:
        certificate: PEM file of the server's certificate, with those that signed it.
        key: PEM file of its private key.
        client_ca: PEM file of the certificates that sign those of clients. With it, clients need one (mutual TLS).

    Raises:
        OSError: a file cannot be read.
        ValueError: a file holds no certificate, or the key is another certificate's.
    """
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(
            f"`tls_cert`, `tls_key` and `tls_client_ca` must be PEM files, the key that of the certificate. "
            f"Received: {certificate=!s}, {key=!s}, {client_ca=!s}, which fail with: {error}"
        ) from error
    roots = None if client_ca is None else Path(client_ca).read_bytes()
    pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=roots is not None)


class Tokens:
    """Who a caller is, by the token in its metadata: `authorization: Bearer TOKEN`.

    Args:
        tokens: name of each client to its token.

    Raises:
        ValueError: there is none, or one is too short.
    """

    def __init__(self, tokens: dict[str, str]) -> None:
        if not tokens:
            raise ValueError("`tokens` must hold at least one token. Received: none")
        for name, token in tokens.items():
            if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable():
                raise ValueError(
                    f"`tokens` must have at least {MIN_TOKEN} visible ASCII characters each; make one with "
                    f"`openssl rand -hex 32`. Received: that of {name} with {len(token)} characters"
                )
        self._tokens = {name: token.encode() for name, token in tokens.items()}

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Tokens":
        """Reads tokens from a file of lines `NAME TOKEN`; empty lines and those that begin with # do not count.

        Raises:
            OSError: the file cannot be read.
            ValueError: a line is of another form, or a name stands there twice.
        """
        tokens: dict[str, str] = {}
        for number, line in enumerate(Path(path).read_text().splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 2 or words[0] in tokens:
                raise ValueError(
                    f"`token_file` must have lines of a name and a token, each name once. Received: line {number} of "
                    f"{path}"
                )
            tokens[words[0]] = words[1]
        return cls(tokens)

    def client(self, metadata: Iterable[tuple[str, str | bytes]]) -> str:
        """The name of the client that a call's token belongs to.

        Args:
            metadata: of the call.

        Raises:
            RequestError: UNAUTHENTICATED, there is no token or it is nobody's.
        """
        values = [value for key, value in metadata if key == _KEY and isinstance(value, str)]
        if len(values) != 1 or not values[0].startswith(_SCHEME):
            raise _unauthenticated("The call must carry one token, as metadata `authorization: Bearer TOKEN`")
        given = values[0].removeprefix(_SCHEME).encode()
        # Each is compared, in a time that does not tell how much of it is right.
        names = [name for name, token in self._tokens.items() if hmac.compare_digest(token, given)]
        if not names:
            raise _unauthenticated("The token of the call is not one of this server's")
        return names[0]


class Guard(grpc.aio.ServerInterceptor):
    """Lets calls of reflection, which asks for nothing itself, through where they have a token.

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


def _unauthenticated(text: str) -> RequestError:
    return RequestError(grpc.StatusCode.UNAUTHENTICATED, text)


def _refusal(error: RequestError) -> grpc.RpcMethodHandler:
    async def refuse(_: object, context: grpc.aio.ServicerContext) -> None:
        await context.abort(error.code, error.details)

    return grpc.stream_unary_rpc_method_handler(refuse)
