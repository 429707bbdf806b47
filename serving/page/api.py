"""What the page asks beside where a photo was taken: what agreed, and to keep what its user says of an answer."""

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import grpc
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.errors import RequestError, exhausted, invalid_argument
from serving.localization.service import LocalizationService
from serving.page.feedback import FeedbackFile, read_feedback
from serving.rest.requests import JSON, Requests
from serving.rpc.backend import Backend
from serving.rpc.calls import Call

if TYPE_CHECKING:
    from serving.page.heatmaps import HeatMaps

_MOST_NAME = 1024
_PHOTOS = 2
_MOST_WAITING = 8


class PageApi:
    """Answers `POST /v1/heatmaps` and `POST /v1/feedback`.

    Args:
        backend: of the server, with maps.
        service: its service that locates photos.
        requests: what every request goes through.
        heat_maps: shows what agreed; None where that is not offered.
        feedback: where what users say is kept; None where it is not.
    """

    def __init__(
        self,
        backend: Backend,
        service: LocalizationService,
        requests: Requests,
        heat_maps: "HeatMaps | None",
        feedback: FeedbackFile | None,
    ) -> None:
        self._backend = backend
        self._service = service
        self._requests = requests
        self._heat_maps = heat_maps
        self._feedback = feedback
        # So pictures of what agreed take one worker of those that compute answers.
        self._turn = asyncio.Lock()
        self._waiting = 0

    @property
    def routes(self) -> list[Route]:
        """Of both addresses."""
        return [
            Route("/v1/heatmaps", self.heatmaps, methods=["POST"]),
            Route("/v1/feedback", self.feedback, methods=["POST"]),
        ]

    async def heatmaps(self, request: Request) -> Response:
        """Two pictures to lay over a photo, the body, and over the candidate that `map` and `name` name."""

        async def answer(call: Call) -> bytes:
            return await self._pictures(call, _only(request, "map"), _only(request, "name"))

        return await self._requests.answer(request, "REST/heatmaps", answer)

    async def feedback(self, request: Request) -> Response:
        """Keeps what a user says of an answer."""

        async def answer(call: Call) -> bytes:
            if self._feedback is None:
                raise _not_offered("feedback", "FILE")
            # Browsers send other types here for anybody's page, without asking first whether that may be.
            if request.headers.get("content-type", "").split(";")[0].strip().lower() != JSON:
                raise invalid_argument(f"Feedback must come with Content-Type: {JSON}")
            with self._backend.quota.read(call.client):
                maps = self._service.maps
                said = read_feedback(await call.receive(), {name: maps[name].record.kind for name in maps.names})
                await self._service.in_thread(partial(self._feedback.append, said))
                return b"{}"

        return await self._requests.answer(request, "REST/feedback", answer)

    async def _pictures(self, call: Call, map_: str, name: str) -> bytes:
        heat_maps = self._heat_maps
        if heat_maps is None:
            raise _not_offered("heatmaps", "MODEL.keras")
        with self._backend.quota.request(call.client):
            photo = await call.receive()
            call.fields |= {"bytes_in": len(photo), "images": _PHOTOS}
            self._backend.quota.spend(call.client, _PHOTOS)
            with self._bounded(), self._backend.admission.admitted(len(photo)) as ticket:
                candidate = await self._service.in_thread(partial(self._service.maps.thumbnail, map_, name))

                def work() -> bytes:
                    call.check_time()
                    return _answered(heat_maps, photo, candidate)

                async with self._turn:
                    return await self._backend.admission.compute(ticket, "heatmaps", _PHOTOS, call.seconds_left(), work)

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Bounds those that wait for their turn: each holds a place that a prediction could have."""
        most = min(_MOST_WAITING, 1 + self._backend.places // 4)
        if self._waiting >= most:
            raise exhausted(f"The server makes and queues at most {most} heat maps; try again later", "heatmaps")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1


def _answered(heat_maps: "HeatMaps", photo: bytes, candidate: bytes) -> bytes:
    try:
        pictures = heat_maps.of(photo, candidate)
    except ValueError as error:
        raise invalid_argument(str(error)) from error
    names = zip(("photo", "candidate"), pictures, strict=True)
    return json.dumps({name: {"b64": base64.b64encode(picture).decode()} for name, picture in names}).encode()


def _only(request: Request, name: str) -> str:
    values = request.query_params.getlist(name)
    if len(values) != 1 or not 0 < len(values[0]) <= _MOST_NAME:
        raise invalid_argument(f"The address must have one `{name}`, of 1 to {_MOST_NAME} characters")
    return values[0]


def _not_offered(flag: str, value: str) -> RequestError:
    return RequestError(
        grpc.StatusCode.NOT_FOUND, f"This server does not offer {flag}; its keeper starts it with --{flag}={value} to"
    )
