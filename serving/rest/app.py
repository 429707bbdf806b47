"""The addresses of TensorFlow Serving's REST interface."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from keras_sare.utils.version_folders import MAX_VERSION
from serving.errors import RequestError, invalid_argument
from serving.rest.json_encoding import JsonEncoding
from serving.rest.openapi import description
from serving.rest.requests import JSON, Requests, refusal
from serving.rpc.backend import Backend
from serving.rpc.calls import Call
from serving.rpc.services import SIGNATURE_FIELD

METRICS_PATH = "/monitoring/prometheus/metrics"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_VERSIONS = ("", "/versions/{version}", "/labels/{label}")
_PROTO_OPTIONS = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}


@dataclass(frozen=True)
class MoreRoutes:
    """Addresses beside those of the models.

    Attributes:
        make: makes them of a backend and of what its requests go through.
        paths: what OpenAPI says of them.
    """

    make: Callable[[Backend, Requests], Sequence[Route]]
    paths: Mapping[str, Any]


def rest_app(backend: Backend, more: Sequence[MoreRoutes] = ()) -> Starlette:
    """Makes the ASGI application.

    Args:
        backend: what answers. It is used on one event loop: that on which the application runs.
        more: addresses beside those of the models.
    """
    requests = Requests(backend)
    api = _Api(backend, requests, {path: what for one in more for path, what in one.paths.items()})
    routes = [route for one in more for route in one.make(backend, requests)]
    if backend.localization is not None:
        # With it comes the library of the place index.
        from serving.localization.routes import localization_routes

        routes += localization_routes(backend.localization, requests)
    for version in _VERSIONS:
        path = f"/v1/models/{{name}}{version}"
        routes += [
            Route(f"{path}:predict", api.predict, methods=["POST"]),
            Route(f"{path}:classify", api.not_offered, methods=["POST"]),
            Route(f"{path}:regress", api.not_offered, methods=["POST"]),
            Route(f"{path}/metadata", api.metadata, methods=["GET"]),
            Route(path, api.status, methods=["GET"]),
        ]
    routes += [
        Route(METRICS_PATH, api.metrics, methods=["GET"]),
        Route("/openapi.json", api.openapi, methods=["GET"]),
        Route("/v1/{rest:path}", _malformed, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})


class _Api:
    def __init__(self, backend: Backend, requests: Requests, paths: Mapping[str, Any]) -> None:
        self._backend = backend
        self._requests = requests
        self._paths = paths

    async def predict(self, request: Request) -> Response:
        async def answer(call: Call) -> bytes:
            return await self._backend.predictions.predict(call, JsonEncoding(_spec(request), self._backend.manager))

        return await self._requests.answer(request, "REST/predict", answer)

    async def metadata(self, request: Request) -> Response:
        async def answer(call: Call) -> bytes:
            data = await self._backend.predictions.metadata(call)
            return _metadata(get_model_metadata_pb2.GetModelMetadataResponse.FromString(data))

        def message(spec: model_pb2.ModelSpec) -> Any:
            return get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_FIELD])

        return await self._described(request, "REST/metadata", message, answer)

    async def status(self, request: Request) -> Response:
        async def answer(call: Call) -> bytes:
            data = await self._backend.models.status(call)
            response = get_model_status_pb2.GetModelStatusResponse.FromString(data)
            return json_format.MessageToJson(response, **_PROTO_OPTIONS).encode()

        def message(spec: model_pb2.ModelSpec) -> Any:
            return get_model_status_pb2.GetModelStatusRequest(model_spec=spec)

        return await self._described(request, "REST/status", message, answer)

    async def not_offered(self, request: Request) -> Response:
        async def answer(_: Call) -> bytes:
            raise RequestError(grpc.StatusCode.UNIMPLEMENTED, "Only predict is offered")

        return await self._requests.answer(request, "REST/other", answer)

    async def metrics(self, request: Request) -> Response:
        async def answer(_: Call) -> bytes:
            return self._backend.metrics.text()

        return await self._requests.answer(request, "REST/metrics", answer, b"", _METRICS_TYPE)

    async def openapi(self, request: Request) -> Response:
        async def answer(_: Call) -> bytes:
            return json.dumps(self._description()).encode()

        return await self._requests.answer(request, "REST/openapi", answer, b"")

    def _description(self) -> dict[str, Any]:
        if self._backend.localization is None:
            return description(self._paths)
        from serving.localization import openapi

        return description({**openapi.paths(), **self._paths}, openapi.SCHEMAS)

    async def _described(self, request: Request, method: str, message: Any, answer: Any) -> Response:
        try:
            data = message(_spec(request)).SerializeToString()
        except RequestError as error:
            return refusal(error)
        return await self._requests.answer(request, method, answer, data)


def _spec(request: Request) -> model_pb2.ModelSpec:
    parameters = request.path_params
    if any(":" in value for value in parameters.values()):
        raise _malformed_error(request)
    spec = model_pb2.ModelSpec(name=parameters["name"], version_label=parameters.get("label"))
    if "version" in parameters:
        text = parameters["version"]
        if not (text.isascii() and text.isdecimal()):
            raise _malformed_error(request)
        # Python itself refuses to read numbers of thousands of digits.
        if len(text.lstrip("0")) > len(str(MAX_VERSION)) or int(text) > MAX_VERSION:
            raise invalid_argument(f"Failed to convert version: {text} to numeric.")
        spec.version.value = int(text)
    return spec


def _metadata(response: Any) -> bytes:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURE_FIELD].Unpack(signatures)
    contents = {
        "model_spec": json_format.MessageToDict(response.model_spec, **_PROTO_OPTIONS),
        "metadata": {SIGNATURE_FIELD: json_format.MessageToDict(signatures, **_PROTO_OPTIONS)},
    }
    return json.dumps(contents).encode()


async def _malformed(request: Request) -> Response:
    return refusal(_malformed_error(request))


def _malformed_error(request: Request) -> RequestError:
    return invalid_argument(f"Malformed request: {request.method} {request.url.path}")


async def _http_error(_: Request, error: Any) -> Response:
    return Response(json.dumps({"error": error.detail}), error.status_code, error.headers, JSON)
