"""grpc.health.v1: whether the server and each model answer requests."""

import asyncio
from typing import TYPE_CHECKING

from grpc_health.v1 import health, health_pb2

from serving.models.manager import ModelManager

if TYPE_CHECKING:
    from serving.localization.service import LocalizationService

_POLL_SECONDS = 0.5
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Follows the models of a server. The server, `""`, is serving as long as one model is.

    Args:
        manager: of the models.
        localization: a service that is followed too, by its full name; None for none.
    """

    def __init__(self, manager: ModelManager, localization: "LocalizationService | None" = None) -> None:
        self._manager = manager
        self._localization = localization
        self._known: set[str] = set()
        self.servicer = health.aio.HealthServicer()

    async def follow(self) -> None:
        """Keeps the statuses up to date until it is cancelled."""
        while True:
            await self.update()
            await asyncio.sleep(_POLL_SECONDS)

    async def update(self) -> None:
        """Brings the statuses up to date."""
        available = set(self._manager.available())
        self._known |= available
        await self.servicer.set("", _SERVING if available else _NOT_SERVING)
        for name in self._known:
            await self.servicer.set(name, _SERVING if name in available else _NOT_SERVING)
        if self._localization is not None:
            is_ready = self._localization.is_ready()
            await self.servicer.set(self._localization.name, _SERVING if is_ready else _NOT_SERVING)
