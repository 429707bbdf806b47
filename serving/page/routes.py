"""The page's files over HTTP, and what a browser may do with them."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).parent / "static"
_INDEX = "index.html"
_SETTINGS = "settings.json"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    "": "text/plain; charset=utf-8",
}
_TILES = re.compile(r"(?P<scheme>https?)://(?P<sub>\{s\}\.)?(?P<host>[a-zA-Z0-9.-]+)(?P<port>:[0-9]{1,5})?/[^\s\"'<>]*")
_PLACEHOLDERS = ("{z}", "{x}", "{y}")


@dataclass(frozen=True)
class PageSettings:
    """What the page offers.

    Attributes:
        most_bytes: of a photo.
        tiles: template of addresses of a map's pictures, with {z}, {x} and {y}; None for a map without: then no
            browser asks anybody but this server.
        tiles_credit: whom the pictures' owner wants named, as plain text.
        heatmaps: whether it can show what agreed.
        feedback: whether it asks if answers are right.

    Raises:
        ValueError: `tiles` is no such template.
    """

    most_bytes: int
    tiles: str | None = None
    tiles_credit: str = ""
    heatmaps: bool = False
    feedback: bool = False

    def __post_init__(self) -> None:
        if self.tiles is None:
            return
        if not _TILES.fullmatch(self.tiles) or any(self.tiles.count(one) != 1 for one in _PLACEHOLDERS):
            raise ValueError(
                "`tiles` must be the address of a map's pictures with {z}, {x} and {y}, as in "
                f"https://tiles.example.org/{{z}}/{{x}}/{{y}}.png. Received: tiles={self.tiles!r}"
            )

    @property
    def policy(self) -> str:
        """The Content-Security-Policy: all from this server, nothing inline; pictures also from the tiles' server."""
        pictures = "'self' blob: data:"
        found = None if self.tiles is None else _TILES.fullmatch(self.tiles)
        if found is not None:
            host = f"{'*.' if found['sub'] else ''}{found['host']}{found['port'] or ''}"
            pictures += f" {found['scheme']}://{host}"
        return (
            f"default-src 'self'; img-src {pictures}; object-src 'none'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )

    def to_json(self) -> bytes:
        """What the page reads."""
        values: dict[str, Any] = {
            "most_bytes": self.most_bytes,
            "tiles": self.tiles,
            "tiles_credit": self.tiles_credit,
            "heatmaps": self.heatmaps,
            "feedback": self.feedback,
        }
        return json.dumps(values).encode()


def page_routes(settings: PageSettings) -> list[Route]:
    """The routes of the page: `/`, and its files below `/page/`.

    The files are read once; what a request names is looked up among them and never opened. Browsers keep them, and ask
    each time whether they are still the same.
    """
    files = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    files[_SETTINGS] = settings.to_json()
    headers = {
        "Content-Security-Policy": settings.policy,
        "X-Content-Type-Options": "nosniff",
        # Servers of tiles want to know who asks.
        "Referrer-Policy": "no-referrer" if settings.tiles is None else "strict-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
    tags = {name: f'"{hashlib.sha256(data).hexdigest()[:32]}"' for name, data in files.items()}

    async def answer(request: Request) -> Response:
        name = request.path_params.get("file", _INDEX)
        if name not in files:
            return Response("There is no such file.", 404, headers, _TYPES[""])
        own = headers | {"ETag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(None, 304, own)
        return Response(files[name], 200, own, _TYPES[Path(name).suffix])

    return [Route("/", answer, methods=["GET"]), Route("/page/{file:path}", answer, methods=["GET"])]
