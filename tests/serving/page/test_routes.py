"""The page's files: what they are, what they load, and what a browser may do with them."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serving.page.routes import FOLDER, PageSettings, page_routes

LEAFLET = {
    "leaflet.js": "db49d009c841f5ca34a888c96511ae936fd9f5533e90d8b2c4d57596f4e5641a",
    "leaflet.css": "a7837102824184820dfa198d1ebcd109ff6d0ff9a2672a074b9a1b4d147d04c6",
}
"""SHA-256 of Leaflet 1.9.4 as npm has it."""

MOST_BYTES = 300_000
OURS = sorted(path for path in FOLDER.iterdir() if path.is_file())


def client(**settings: object) -> TestClient:
    return TestClient(Starlette(routes=page_routes(PageSettings(most_bytes=1000, **settings))))


def test_the_page_is_small_and_leaflet_is_as_its_authors_gave_it() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MOST_BYTES
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (FOLDER / "leaflet").glob("*.*")}
    assert digests == LEAFLET
    assert "Redistribution and use in source and binary forms" in (FOLDER / "leaflet" / "LICENSE").read_text()


def test_the_page_loads_nothing_from_elsewhere_and_makes_no_html_of_texts() -> None:
    wrong = re.compile(
        r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
        r"|\sstyle=|\son\w+="
    )
    for path in OURS:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert wrong.findall(text) == [], path.name


def test_what_the_page_names_is_there() -> None:
    named = set()
    for path in OURS:
        text = path.read_text()
        named |= {Path("page/..") / one for one in re.findall(r'(?:src|href)="(page/[^"]+)"', text)}
        named |= {Path("page") / one for one in re.findall(r'from "\./([^"]+)"', text)}
    site = client()
    assert len(named) >= 7
    for one in named:
        assert site.get(f"/{one}".replace("page/../", "")).status_code == 200, one
    html = (FOLDER / "index.html").read_text()
    identifiers = set(re.findall(r' id="([^"]+)"', html))
    used = set(re.findall(r'\$\("([^"]+)"\)', (FOLDER / "page.js").read_text()))
    used |= set(re.findall(r' (?:for|aria-labelledby|aria-controls)="([^"]+)"', html))
    assert len(used) > 30
    assert used <= identifiers


def test_only_files_of_the_page_are_given_and_browsers_ask_if_they_changed() -> None:
    site = client()
    for path in ("routes.py", "../routes.py", "..%2froutes.py", "leaflet", "leaflet/../index.html/", "%00", "x" * 5000):
        assert site.get(f"/page/{path}").status_code == 404, path
    first = site.get("/page/page.css")
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    again = site.get("/page/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


def test_the_page_is_told_what_it_may_offer() -> None:
    plain = client().get("/page/settings.json").json()
    assert plain == {"most_bytes": 1000, "tiles": None, "tiles_credit": "", "heatmaps": False, "feedback": False}
    tiles = "https://{s}.tiles.example.org:8443/a/{z}/{x}/{y}.png?key=1"
    rich = client(tiles=tiles, tiles_credit="<b>", feedback=True).get("/page/settings.json")
    assert json.loads(rich.content) == plain | {"tiles": tiles, "tiles_credit": "<b>", "feedback": True}


@pytest.mark.parametrize(
    ("tiles", "pictures"),
    [
        (None, "'self' blob: data:"),
        ("https://{s}.tiles.example.org:8443/{z}/{x}/{y}", "'self' blob: data: https://*.tiles.example.org:8443"),
        ("http://tiles.example.org/{z}/{x}/{y}.png", "'self' blob: data: http://tiles.example.org"),
    ],
)
def test_browsers_may_fetch_from_this_server_and_of_tiles_from_theirs(tiles: str | None, pictures: str) -> None:
    for path in ("/", "/page/page.js", "/page/nowhere"):
        policy = client(tiles=tiles).get(path).headers["content-security-policy"]
        parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert parts["default-src"] == "'self'"
        assert parts["img-src"] == pictures
        assert parts["frame-ancestors"] == "'none'"
        assert "script-src" not in parts


@pytest.mark.parametrize(
    "tiles",
    [
        "",
        "tiles.example.org/{z}/{x}/{y}.png",
        "javascript://a/{z}/{x}/{y}",
        "https://a/{z}/{x}",
        "https://a/{z}/{x}/{y}/{y}",
        "https://a b/{z}/{x}/{y}",
        "https://a;script-src *;/{z}/{x}/{y}",
        "https://{s}evil.org/{z}/{x}/{y}",
        "https://a/{z}/{x}/{y}\nX: 1",
    ],
)
def test_tiles_that_are_no_template_of_addresses_are_refused(tiles: str) -> None:
    with pytest.raises(ValueError, match="`tiles` must be the address of a map's pictures") as refused:
        PageSettings(1000, tiles=tiles)
    assert "\n" not in str(refused.value)
