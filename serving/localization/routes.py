"""The addresses of maps and of what was taken where."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.errors import RequestError, invalid_argument
from serving.localization.encodings import Encoding, FileEncoding, JsonEncoding
from serving.localization.service import LocalizationService
from serving.rest.requests import Requests, refusal
from serving.rpc.calls import Call

_MOST_NAME = 1024
_JPEG = "image/jpeg"
# Some ten thousand positions are written.
_TRACK_IMAGES = 0.25
# A map's photos seldom change; what is behind a token is nobody else's to keep. A map may be a stranger's, and hold
# anything as a picture.
_HEADERS = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


def localization_routes(service: LocalizationService, requests: Requests) -> list[Route]:
    """Makes the routes.

    Args:
        service: what answers.
        requests: what every request goes through.
    """
    api = _Api(service, requests)
    return [
        Route("/v1/localize", api.localize, methods=["POST"]),
        Route("/v1/maps", api.maps, methods=["GET"]),
        Route("/v1/maps/{name}/track", api.track, methods=["GET"]),
        Route("/v1/maps/{name}/thumbnails", api.thumbnail, methods=["GET"]),
    ]


class _Api:
    def __init__(self, service: LocalizationService, requests: Requests) -> None:
        self._service = service
        self._requests = requests

    async def localize(self, request: Request) -> Response:
        async def answer(call: Call) -> bytes:
            return await self._service.localize(call, _encoding(request))

        return await self._requests.answer(request, "REST/localize", answer)

    async def maps(self, request: Request) -> Response:
        def described() -> bytes:
            maps = self._service.maps
            return json.dumps([maps.description(name) for name in maps.names]).encode()

        async def answer(call: Call) -> bytes:
            return await self._service.read(call, described)

        return await self._requests.answer(request, "REST/maps", answer, b"")

    async def track(self, request: Request) -> Response:
        def track() -> bytes:
            return json.dumps(self._service.maps.track(request.path_params["name"])).encode()

        async def answer(call: Call) -> bytes:
            return await self._service.read(call, track, _TRACK_IMAGES)

        return await self._requests.answer(request, "REST/track", answer, b"")

    async def thumbnail(self, request: Request) -> Response:
        try:
            photo = _photo(request)
        except RequestError as error:
            return refusal(error)

        def thumbnail() -> bytes:
            return self._service.maps.thumbnail(request.path_params["name"], photo)

        async def answer(call: Call) -> bytes:
            return await self._service.read(call, thumbnail)

        return await self._requests.answer(request, "REST/thumbnail", answer, b"", _JPEG, _HEADERS)


def _encoding(request: Request) -> Encoding:
    query = request.query_params.multi_items()
    if request.headers.get("content-type", "").lower().startswith("image/"):
        return FileEncoding(query)
    if query:
        raise invalid_argument("The options must stand in the JSON, or in the address where the body is an image")
    return JsonEncoding()


def _photo(request: Request) -> str:
    names = request.query_params.getlist("name")
    if len(names) != 1 or not 0 < len(names[0]) <= _MOST_NAME or len(request.query_params.multi_items()) > 1:
        raise invalid_argument(f"The address must have one `name`, of 1 to {_MOST_NAME} characters, and nothing else")
    return names[0]
