"""What TensorFlow Serving does when it is asked through REST."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from serving.conformance.behaviour import Behaviour, DiffersError, MissingError, expect
from serving.conformance.grpc_endpoint import GrpcEndpoint

_NONE = "conformance-none"
_VERSION = 999_999_999
_SECONDS = 60
_NOT_FOUND = 404
_NOT_OFFERED = 501


class RestEndpoint:
    """Asks a server.

    Args:
        url: of it, as in `http://localhost:8501`.
        grpc: the same server's other interface, which knows the model's inputs and outputs.
        headers: of each request, such as a token.
        context: of the encryption, where `url` has any.
    """

    def __init__(
        self,
        url: str,
        grpc: GrpcEndpoint,
        headers: Iterable[tuple[str, str]] = (),
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._context = context
        self._headers = dict(headers)
        self.grpc = grpc

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Code and contents of an answer.

        Args:
            path: of the address.
            body: what is posted; None gets.

        Raises:
            MissingError: nothing answers there.
        """
        request = urllib.request.Request(f"{self._url}{path}", body, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=self._context) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            if error.code == _NOT_OFFERED:
                raise MissingError(f"{path} is answered with {error.code}") from error
            return error.code, error.read()
        except OSError as error:
            raise MissingError(f"{self._url} does not answer: {error}") from error

    def json(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Code and JSON of an answer.

        Raises:
            DiffersError: it is no JSON.
        """
        code, contents = self.ask(path, None if body is None else json.dumps(body).encode())
        try:
            return code, json.loads(contents)
        except ValueError as error:
            raise DiffersError(f"expected JSON, received {code}: {contents[:100]!r}") from error

    def path(self, rest: str = "", model: str | None = None) -> str:
        """Of the model, and what follows its name."""
        return f"/v1/models/{model or self.grpc.model}{rest}"

    def columns(self) -> dict[str, Any]:
        """The inputs of a prediction."""
        request = self.grpc.predict_request()
        return {alias: _json(tf.make_ndarray(tensor).tolist()) for alias, tensor in request.inputs.items()}


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return [_json(item) for item in value] if isinstance(value, list) else value


def _rows(endpoint: RestEndpoint) -> None:
    columns = endpoint.columns()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    code, answer = endpoint.json(endpoint.path(":predict"), {"instances": rows})
    expect("code", code, 200)
    expect("keys", list(answer), ["predictions"])
    expect("rows", len(answer["predictions"]), len(rows))


def _columns(endpoint: RestEndpoint) -> None:
    code, answer = endpoint.json(endpoint.path(":predict"), {"inputs": endpoint.columns()})
    expect("code", code, 200)
    expect("keys", list(answer), ["outputs"])
    if len(endpoint.grpc.outputs) > 1:
        expect("outputs", sorted(answer["outputs"]), endpoint.grpc.outputs)


def _status(endpoint: RestEndpoint) -> None:
    version = str(endpoint.grpc.version)
    code, answer = endpoint.json(endpoint.path(f"/versions/{version}"))
    expect("code", code, 200)
    status = {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    expect("status", answer, {"model_version_status": [status]})


def _metadata(endpoint: RestEndpoint) -> None:
    code, answer = endpoint.json(endpoint.path("/metadata"))
    expect("code", code, 200)
    spec = {"name": endpoint.grpc.model, "signature_name": "", "version": str(endpoint.grpc.version)}
    expect("model_spec", answer["model_spec"], spec)
    inputs = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    expect("inputs", sorted(inputs), sorted(endpoint.grpc.inputs))


def _metrics(endpoint: RestEndpoint) -> None:
    code, contents = endpoint.ask("/monitoring/prometheus/metrics")
    if code == _NOT_FOUND:
        raise MissingError("there are no metrics; TensorFlow Serving needs --monitoring_config_file for them")
    expect("code", code, 200)
    name = f':tensorflow:serving:request_count{{model_name="{endpoint.grpc.model}",status="OK"}}'
    if name not in contents.decode():
        raise DiffersError(f"expected {name}, which is not there")


def _refusal(code: int, text: str, path: Callable[[RestEndpoint], str], body: Any) -> Callable[[RestEndpoint], None]:
    def check(endpoint: RestEndpoint) -> None:
        received, answer = endpoint.json(path(endpoint), body)
        expect("code", received, code)
        expect("keys", list(answer), ["error"])
        if not answer["error"].startswith(text.format(model=endpoint.grpc.model)):
            raise DiffersError(f"expected a text that begins with {text!r}, received {answer['error']!r}")

    return check


_BODY = {"instances": [0]}
_REFUSALS: list[tuple[str, int, str, Callable[[RestEndpoint], str], Any]] = [
    (
        "REST predict of an unknown model",
        404,
        f"Servable not found for request: Latest({_NONE})",
        lambda e: e.path(":predict", _NONE),
        _BODY,
    ),
    (
        "REST predict of an unknown version",
        404,
        f"Servable not found for request: Specific({{model}}, {_VERSION})",
        lambda e: e.path(f"/versions/{_VERSION}:predict"),
        _BODY,
    ),
    (
        "REST predict of an unknown label",
        400,
        f"Unrecognized servable version label: {_NONE}",
        lambda e: e.path(f"/labels/{_NONE}:predict"),
        _BODY,
    ),
    (
        "REST predict of an unknown signature",
        400,
        f'Serving signature name: "{_NONE}" not found in signature def',
        lambda e: e.path(":predict"),
        {"signature_name": _NONE, "instances": [0]},
    ),
    (
        "REST predict without inputs",
        400,
        "Missing 'inputs' or 'instances' key",
        lambda e: e.path(":predict"),
        {},
    ),
    (
        "REST of an unknown method",
        400,
        "Malformed request: POST /v1/models/{model}:none",
        lambda e: e.path(":none"),
        _BODY,
    ),
    (
        "REST status of an unknown model",
        404,
        f"Could not find any versions of model {_NONE}",
        lambda e: e.path(model=_NONE),
        None,
    ),
]

REST_BEHAVIOURS = [
    Behaviour("REST predict by rows", _rows),
    Behaviour("REST predict by columns", _columns),
    *(Behaviour(f"{name}: {code}", _refusal(code, text, path, body)) for name, code, text, path, body in _REFUSALS),
    Behaviour("REST status of a version", _status),
    Behaviour("REST metadata", _metadata),
    Behaviour("Prometheus' request_count", _metrics),
]
"""In the order of the table."""
