"""The page, put together: its files, what it asks, and what it offers on this server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.routing import Route

from serving.page import openapi
from serving.page.api import PageApi
from serving.page.feedback import FeedbackFile
from serving.page.routes import PageSettings, page_routes
from serving.rest.app import MoreRoutes
from serving.rest.requests import Requests
from serving.rpc.backend import Backend


@dataclass(frozen=True)
class PageOptions:
    """What a server's keeper chooses.

    Attributes:
        tiles: see `PageSettings`.
        tiles_credit: see `PageSettings`.
        heatmaps: `.keras` file of the served model, to show what agreed; None for not.
        feedback: file for what users say of answers; None for not.
    """

    tiles: str | None = None
    tiles_credit: str = ""
    heatmaps: str | None = None
    feedback: str | None = None


def page(options: PageOptions, backend: Backend, versions: Path) -> MoreRoutes:
    """Makes the page of a server.

    Args:
        options: what it offers.
        backend: of the server, with maps.
        versions: folder of the served model's versions.

    Returns:
        Its addresses.

    Raises:
        ValueError: `tiles` or `heatmaps` is wrong, see `PageSettings` and `open_heat_maps`.
        OSError: a file cannot be opened.
    """
    service = backend.localization
    if service is None:
        raise ValueError("`backend` must have maps: the page shows where on them a photo was taken. Received: none")
    settings = PageSettings(
        most_bytes=backend.limits.message_bytes,
        tiles=options.tiles,
        tiles_credit=options.tiles_credit,
        heatmaps=options.heatmaps is not None,
        feedback=options.feedback is not None,
    )
    feedback = None if options.feedback is None else FeedbackFile(options.feedback)
    heat_maps = None
    if options.heatmaps is not None:
        # With it come Keras and matplotlib.
        from serving.page.heatmaps import open_heat_maps

        records = [service.maps[name].record for name in service.maps.names]
        heat_maps = open_heat_maps(Path(options.heatmaps), records, versions)

    def routes(backend: Backend, requests: Requests) -> Sequence[Route]:
        api = PageApi(backend, service, requests, heat_maps, feedback)
        return [*page_routes(settings), *api.routes]

    return MoreRoutes(routes, openapi.paths())
