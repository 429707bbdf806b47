"""Who may call: TLS, certificates of clients, tokens."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2, prediction_service_pb2_grpc

from serving.errors import RequestError
from serving.rpc.credentials import Tokens, transport
from serving.rpc.server import Access

REQUEST = predict_pb2.PredictRequest(model_spec={"name": "slow"})
TOKENS = {"garden": "0123456789abcdef", "tower": "fedcba9876543210"}


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def secure(address: str, pem: Path, client: str | None = None) -> Any:
    key, chain = ((pem / f"{client}.{end}").read_bytes() if client else None for end in ("key", "crt"))
    credentials = grpc.ssl_channel_credentials((pem / "server.crt").read_bytes(), key, chain)
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.secure_channel(address, credentials)).Predict


def test_an_encrypting_server_answers_those_who_encrypt(slow_server: Callable[..., SimpleNamespace], pem: Path) -> None:
    slow = slow_server(access=Access(transport(pem / "server.crt", pem / "server.key")))
    slow.model.finish.set()
    assert secure(slow.server.address, pem)(REQUEST, timeout=20).outputs
    assert slow.predict.future(REQUEST, timeout=20).exception(timeout=20).code().name == "UNAVAILABLE"


def test_mutual_tls_answers_those_whose_certificate_is_known(
    slow_server: Callable[..., SimpleNamespace], pem: Path
) -> None:
    slow = slow_server(access=Access(transport(pem / "server.crt", pem / "server.key", pem / "client.crt")))
    slow.model.finish.set()
    assert secure(slow.server.address, pem, "client")(REQUEST, timeout=20).outputs
    for client in (None, "other"):
        call = secure(slow.server.address, pem, client).future(REQUEST, timeout=20)
        assert call.exception(timeout=20).code().name == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("certificate", "key", "ca"),
    [
        ("server.crt", "client.key", None),
        ("server.key", "server.key", None),
        ("server.crt", "server.key", "client.key"),
    ],
)
def test_files_that_do_not_fit_are_refused(pem: Path, certificate: str, key: str, ca: str | None) -> None:
    with pytest.raises(ValueError, match=r"^`tls_cert`, `tls_key` and `tls_client_ca` must be PEM files.* fail with: "):
        transport(pem / certificate, pem / key, pem / ca if ca else None)


def test_a_file_that_is_missing_is_told(pem: Path) -> None:
    with pytest.raises(FileNotFoundError):
        transport(pem / "missing.crt", pem / "server.key")


def test_calls_with_a_token_are_answered(slow_server: Callable[..., SimpleNamespace]) -> None:
    slow = slow_server(access=Access(tokens=Tokens(TOKENS)))
    slow.model.finish.set()
    for token in TOKENS.values():
        assert slow.predict(REQUEST, timeout=20, metadata=bearer(token)).outputs


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ([], "The call must carry one token, as metadata `authorization: Bearer TOKEN`"),
        ([("authorization", TOKENS["garden"])], "The call must carry one token, as metadata"),
        (bearer(TOKENS["garden"]) * 2, "The call must carry one token, as metadata"),
        (bearer(TOKENS["garden"][:-1]), "The token of the call is not one of this server's"),
        (bearer(TOKENS["garden"] + "0"), "The token of the call is not one of this server's"),
        (bearer(""), "The token of the call is not one of this server's"),
    ],
)
def test_calls_without_a_token_are_unauthenticated(
    slow_server: Callable[..., SimpleNamespace], metadata: list[tuple[str, str]], text: str
) -> None:
    slow = slow_server(access=Access(tokens=Tokens(TOKENS)))
    status = slow.channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "slow"})
    for call in (
        slow.predict.future(REQUEST, timeout=20, metadata=metadata),
        status.future(request.SerializeToString(), timeout=20, metadata=metadata),
    ):
        error = call.exception(timeout=20)
        assert error.code().name == "UNAUTHENTICATED"
        assert error.details().startswith(text)
    assert slow.model.calls == 0


def test_health_needs_no_token_and_reflection_does(slow_server: Callable[..., SimpleNamespace]) -> None:
    slow = slow_server(access=Access(tokens=Tokens(TOKENS)))
    answer = health_pb2_grpc.HealthStub(slow.channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        ProtoReflectionDescriptorDatabase(slow.channel).get_services()
    assert caught.value.code().name == "UNAUTHENTICATED"


def test_tokens_are_read_from_lines_of_name_and_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# clients\n\ngarden 0123456789abcdef\n  tower\tfedcba9876543210  \n")
    tokens = Tokens.from_file(file)
    assert [tokens.client(bearer(token)) for token in TOKENS.values()] == ["garden", "tower"]
    with pytest.raises(RequestError, match="^The token of the call"):
        tokens.client(bearer("0123456789abcdeF"))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "`tokens` must hold at least one token"),
        ("# garden 0123456789abcdef", "`tokens` must hold at least one token"),
        ("garden 0123456789abcde", "at least 16 visible ASCII characters.* that of garden with 15 characters"),
        ("garden 0123456789abcdefé", "at least 16 visible ASCII characters"),
        ("0123456789abcdef", "`token_file` must have lines of a name and a token.* line 1 of "),
        ("a 0123456789abcdef\na 0123456789abcdee", "each name once. Received: line 2 of "),
    ],
)
def test_a_token_file_that_is_none_is_refused(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(ValueError, match=error) as caught:
        Tokens.from_file(file)
    assert "0123456789" not in str(caught.value)
