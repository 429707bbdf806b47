"""What the page asks beside where a photo was taken, over HTTP."""

import asyncio
import base64
import io
import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import jsonschema
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serving.limits import Limits
from serving.localization.maps import Maps
from serving.models.manager import ModelManager
from serving.page.api import PageApi
from serving.page.site import PageOptions, page
from serving.rest.app import rest_app
from serving.rest.requests import Requests
from serving.rpc.backend import Backend
from serving.scheduling.quota import Quota

HEATMAPS = {"map": "city", "name": "walk/3.jpg"}


@pytest.fixture(scope="module")
def client(site: SimpleNamespace) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.address, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def backend(manager: ModelManager, places: list[str]) -> Iterator[Backend]:
    maps = (Maps(places), "colours")
    backend = Backend(manager, Limits(), max_workers=1, max_queue=4, tokens=None, quota=Quota(), log=None, maps=maps)
    yield backend
    backend.admission.close()


def photo(colour: str) -> bytes:
    Image.new("RGB", (200, 100), colour).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def test_what_agreed_is_two_pictures_of_the_shapes_of_the_photos(client: httpx.Client) -> None:
    answer = client.post("v1/heatmaps", params=HEATMAPS, content=photo("red"))
    assert (answer.status_code, list(answer.json())) == (200, ["photo", "candidate"])
    pictures = [Image.open(io.BytesIO(base64.b64decode(one["b64"]))) for one in answer.json().values()]
    assert [(picture.mode, picture.size) for picture in pictures] == [("RGBA", (200, 100)), ("RGBA", (64, 48))]


@pytest.mark.parametrize(
    ("params", "content", "code", "text"),
    [
        ({}, b"", 400, "The address must have one `map`"),
        ({"map": "city"}, b"", 400, "The address must have one `name`, of 1 to 1024 characters"),
        ({"map": "city", "name": "a" * 1025}, b"", 400, "one `name`"),
        ({"map": "village", "name": "a"}, b"", 404, "`maps` must be some of city, town"),
        ({"map": "city", "name": "../../etc/passwd"}, b"", 404, "The map has no thumbnail of such a photo"),
        (HEATMAPS, b"", 400, "The photo must be a JPEG, PNG, GIF or WebP file"),
        (HEATMAPS, b"no photo", 400, "The photo must be a JPEG, PNG, GIF or WebP file"),
        (HEATMAPS, bytes(2**20 + 1), 413, "at most 1048576 bytes"),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(
    client: httpx.Client, params: dict[str, str], content: bytes, code: int, text: str
) -> None:
    answer = client.post("v1/heatmaps", params=params, content=content)
    assert answer.status_code == code
    assert text in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_both_addresses_are_described_for_programs_as_they_are(client: httpx.Client, site: SimpleNamespace) -> None:
    described = client.get("openapi.json").json()
    heatmaps, feedback = (described["paths"][f"/v1/{name}"]["post"] for name in ("heatmaps", "feedback"))
    assert {one["name"] for one in heatmaps["parameters"]} == HEATMAPS.keys()
    pictures = client.post("v1/heatmaps", params=HEATMAPS, content=photo("red")).json()
    jsonschema.validate(pictures, heatmaps["responses"]["200"]["content"]["application/json"]["schema"])
    answer = {"known": True, "map": "town", "position": {"easting": 1, "northing": 2.5}, "candidates": ["a"]}
    said = {"sha256": "0a" * 32, "verdict": "wrong", "answer": answer}
    jsonschema.validate(said, feedback["requestBody"]["content"]["application/json"]["schema"])
    assert client.post("v1/feedback", json=said).status_code == 200
    assert json.loads(site.feedback.read_text().splitlines()[-1])["answer"]["position"] == answer["position"]


def test_feedback_that_is_none_is_refused_and_not_kept(client: httpx.Client, site: SimpleNamespace) -> None:
    before = site.feedback.read_bytes()
    answer = client.post("v1/feedback", json={"verdict": "right"})
    assert answer.status_code == 400
    assert "KeyError 'answer'" in answer.json()["error"]
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        answer = client.post("v1/feedback", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 400
        assert answer.json()["error"] == "Feedback must come with Content-Type: application/json"
    assert site.feedback.read_bytes() == before


def test_a_server_offers_what_it_was_started_with(backend: Backend, colours: SimpleNamespace) -> None:
    with TestClient(rest_app(backend, [page(PageOptions(), backend, colours.versions)])) as client:
        settings = client.get("/page/settings.json").json()
        assert (settings["heatmaps"], settings["feedback"]) == (False, False)
        for name, flag in (("heatmaps", "--heatmaps=MODEL.keras"), ("feedback", "--feedback=FILE")):
            answer = client.post(f"/v1/{name}", params=HEATMAPS, content=photo("red"))
            assert answer.status_code == 404
            assert flag in answer.json()["error"]
        assert "Where was this photo taken?" in client.get("/").text


class Waiting:
    """Heat maps that wait."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def of(self, *_: bytes) -> tuple[bytes, bytes]:
        self.go_on.wait()
        return b"photo", b"candidate"


def test_heat_maps_that_wait_leave_places_for_answers(backend: Backend) -> None:
    """Two at a time on a server of five places."""
    assert backend.localization is not None
    waiting = Waiting()
    api = PageApi(backend, backend.localization, Requests(backend), waiting, None)

    async def asked() -> tuple[list[int], list[int]]:
        transport = httpx.ASGITransport(Starlette(routes=api.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            posts = [client.post("/v1/heatmaps", params=HEATMAPS, content=photo("red")) for _ in range(5)]
            tasks = [asyncio.ensure_future(post) for post in posts]
            refused = []
            for ended in itertools.islice(asyncio.as_completed(tasks), 3):
                answer = await ended
                assert "at most 2 heat maps" in answer.text
                refused.append(answer.status_code)
            assert backend.admission.load.computing + backend.admission.load.queued == 2
            waiting.go_on.set()
            return refused, sorted([(await task).status_code for task in tasks])

    assert asyncio.run(asked()) == ([429] * 3, [200] * 2 + [429] * 3)


def test_feedback_counts_for_a_clients_quota(manager: ModelManager, places: list[str], tmp_path: Path) -> None:
    quota = Quota(images_per_second=0.005, clock=lambda: 0.0)
    maps = (Maps(places), "colours")
    backend = Backend(manager, Limits(), max_workers=1, max_queue=4, tokens=None, quota=quota, log=None, maps=maps)
    options = PageOptions(feedback=str(tmp_path / "feedback.jsonl"))
    said = {"sha256": "0a" * 32, "verdict": "right", "answer": {"known": False, "candidates": []}}
    with TestClient(rest_app(backend, [page(options, backend, tmp_path)])) as client:
        assert [client.post("/v1/feedback", json=said).status_code for _ in range(2)] == [200, 429]
    assert len((tmp_path / "feedback.jsonl").read_text().splitlines()) == 1
    backend.admission.close()


def test_what_is_wrong_with_the_page_is_told_before_it_is_served(
    backend: Backend, colours: SimpleNamespace, tmp_path: Path
) -> None:
    for options, error in (
        (PageOptions(tiles="nowhere"), "`tiles` must be"),
        (PageOptions(heatmaps=str(tmp_path / "no.keras")), "existing .keras file"),
        (PageOptions(feedback=str(tmp_path)), "Is a directory"),
    ):
        with pytest.raises((ValueError, OSError), match=error):
            page(options, backend, colours.versions)
