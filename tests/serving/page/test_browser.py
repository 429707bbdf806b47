"""The page as headless Chromium shows it."""

import hashlib
import io
import json
import re
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from trainers.stages.chromium import Chromium

HOSTILE_NAME = "street/<img src=x onerror=document.title='owned'>.jpg"
VERDICT = "document.querySelector('.verdict')"
TOKEN = "0123456789abcdef" * 2
DESKTOP = (1280, 800)
PHONE = (390, 844)

CONTRASTS = """(() => {
  const rgba = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => a * value + (1 - a) * below[i]);
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) =>
    element ? over(rgba(getComputedStyle(element).backgroundColor), behind(element.parentElement)) : [255, 255, 255];
  const contrast = (element) => {
    const paper = behind(element);
    const [low, high] = [luminance(over(rgba(getComputedStyle(element).color), paper)), luminance(paper)].sort();
    return (Math.max(low, high) + 0.05) / (Math.min(low, high) + 0.05);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const elements = new Set(document.querySelectorAll("input:not([type=file]), select"));
  while (texts.nextNode()) if (texts.currentNode.data.trim()) elements.add(texts.currentNode.parentElement);
  return [...elements].filter((one) => one.checkVisibility() && !one.closest("noscript, option"))
    .map((one) => [contrast(one), one.outerHTML.slice(0, 90)]);
})()"""
"""Contrast with what is behind it, as WCAG 2.2 defines it, of each element with text that is seen."""

FOCUSED = """(() => {
  const one = document.activeElement;
  const shown = one.type === "file" ? one.nextElementSibling : one;
  const style = getComputedStyle(shown);
  const box = shown.getBoundingClientRect();
  return [one.id || one.className, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
          box.width > 8 && box.height > 8];
})()"""
"""What has the focus, whether it is ringed, and whether it is seen."""

DROPPED = """(async () => {
  const data = new DataTransfer();
  data.items.add(new File([await (await fetch("v1/maps/city/thumbnails?name=walk/1.jpg")).blob()], "dropped.jpg"));
  %s
})()"""


@pytest.fixture
def page(browser: Chromium, site: SimpleNamespace) -> Chromium:
    browser.resize(*DESKTOP)
    browser.events.clear()
    opened(browser, site)
    return browser


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A photo that the map knows, one that it does not, one of too many pixels, one of too many bytes, and a text."""
    folder = tmp_path_factory.mktemp("photos")
    contents = {
        "known": picture("#fa0800"),
        "unknown": picture("#0000ff"),
        "huge": huge_png(20_000),
        "long": picture("red") + bytes(2**20),
        "text": b"<script>alert(1)</script>",
    }
    for name, data in contents.items():
        (folder / f"{name}.jpg").write_bytes(data)
    return SimpleNamespace(**{name: folder / f"{name}.jpg" for name in contents})


def picture(colour: str) -> bytes:
    Image.new("RGB", (64, 48), colour).save(file := io.BytesIO(), "JPEG")
    return file.getvalue()


def huge_png(side: int) -> bytes:
    """All black, of one bit a pixel: 50 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def opened(browser: Chromium, site: SimpleNamespace) -> None:
    browser.open(site.address)
    browser.wait("document.querySelector('#map canvas')")


def asked(page: Chromium, path: Path) -> str:
    """Chooses a photo and returns the answer."""
    page.choose_file("#choose", path)
    page.wait(f"{VERDICT} && document.getElementById('progress').hidden")
    return plain(page.evaluate(f"{VERDICT}.innerText"))


def test_a_photo_finds_its_place(page: Chromium, photos: SimpleNamespace) -> None:
    place, certainty = asked(page, photos.known).splitlines()
    assert [float(part) for part in place.split(", ")] == pytest.approx([51.5, -0.1098], abs=2e-4)
    assert re.fullmatch(r"Within 10 m nine times of ten; right with a probability of 9\d %\.", certainty)
    matches = page.evaluate("[...document.querySelectorAll('.match')].map((one) => one.innerText)")
    assert len(matches) == 16
    [second] = [one for one in matches if "2.jpg" in one and "city" in one]
    rank, name, similarity, distance, heading, others = (part.strip() for part in plain(second).splitlines())
    assert (name, heading, others) == ("2.jpg", "↑ facing E, 80°", "2026-05-01 10:00:00 · city")
    assert int(rank) <= 4
    assert re.fullmatch(r"similarity 0\.99\d", similarity)
    assert re.fullmatch(r"\d\.\d m from the answer", distance)
    page.wait("[...document.querySelectorAll('.match .stack img')].slice(0, 3).every((one) => one.naturalWidth === 64)")
    assert page.evaluate("document.getElementById('photo').naturalWidth") == 64
    assert complaints(page) == []


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_the_map_has_the_tracks_the_matches_the_answer_and_its_uncertainty(
    page: Chromium, photos: SimpleNamespace
) -> None:
    assert colours(page) == {"track"}
    asked(page, photos.known)
    assert colours(page) >= {"similar", "estimate"}
    asked(page, photos.unknown)
    assert "estimate" not in colours(page)
    assert "similar" in colours(page)


def colours(page: Chromium) -> set[str]:
    """Which of the page's colours are on the map."""
    found = """(() => {
      const canvas = document.querySelector("#map canvas");
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const seen = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 180) seen.add(data.slice(i, i + 3).join());
      const style = getComputedStyle(document.documentElement);
      const hex = (name) => style.getPropertyValue(`--${name}`).trim().match(/[0-9a-f]{2}/g);
      const close = (value, hex) => Math.abs(value - parseInt(hex, 16)) < 4;
      const is = (name) => (one) => one.split(",").every((value, i) => close(value, hex(name)[i]));
      const near = (name) => [...seen].some(is(name));
      return ["track", "similar", "estimate"].filter(near);
    })()"""
    # Leaflet draws before the next frame.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return set(page.evaluate(found))


def test_dont_know_is_said_plainly_and_the_similar_photos_are_shown(page: Chromium, photos: SimpleNamespace) -> None:
    answer = asked(page, photos.unknown)
    assert answer.startswith("I don’t know where this was taken.")
    assert "right with a probability of 0 %, too little where 90 % of the answers should be right" in answer
    assert page.evaluate("document.querySelectorAll('.match').length") == 16


def test_what_is_no_photo_is_told_without_asking_the_server(page: Chromium, photos: SimpleNamespace) -> None:
    asked(page, photos.known)
    page.events.clear()
    answer = asked(page, photos.text)
    assert answer == "text.jpg is no photo that can be read.\nIt must be a JPEG, PNG, WebP or GIF file."
    assert page.evaluate("document.querySelectorAll('.match').length") == 0
    assert page.evaluate("document.getElementById('shown').hidden")
    assert requests(page) == []
    large = asked(page, photos.long)
    assert large == "This photo is too large.\nIt may have at most 1 MB."


def test_a_photo_of_too_many_pixels_is_not_drawn_and_the_server_says_why(
    page: Chromium, photos: SimpleNamespace
) -> None:
    answer = asked(page, photos.huge)
    assert answer.startswith("There is no answer.\ntoo large: it declares more pixels than are read")
    assert page.evaluate("document.getElementById('shown').hidden")


@pytest.mark.parametrize(
    "how",
    [
        "document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));",
        "document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));",
    ],
    ids=["dropped", "pasted"],
)
def test_photos_can_be_dropped_and_pasted(page: Chromium, how: str) -> None:
    page.evaluate(DROPPED % how)
    page.wait(f"{VERDICT} && document.querySelectorAll('.match').length === 16")


def test_names_of_photos_are_text(page: Chromium, photos: SimpleNamespace) -> None:
    asked(page, photos.known)
    names = page.evaluate(
        "[...document.querySelectorAll('.match .name')].map((one) => [one.title, one.childElementCount])"
    )
    assert [HOSTILE_NAME, 0] in names
    assert page.evaluate("document.title") == "Where was this photo taken?"


def test_no_request_leaves_the_server_and_nothing_breaks_its_policy(
    page: Chromium, site: SimpleNamespace, photos: SimpleNamespace
) -> None:
    asked(page, photos.known)
    page.evaluate("document.getElementById('map-shown').value = 'town'")
    page.evaluate("document.getElementById('map-shown').dispatchEvent(new Event('change'))")
    page.wait("document.querySelector('#map canvas')")
    elsewhere = [url for url in requests(page) if not url.startswith((site.address, f"blob:{site.address}", "data:"))]
    assert elsewhere == []
    assert len(requests(page)) > 10
    assert complaints(page) == []


@pytest.mark.parametrize("which", ["known", "unknown"])
def test_a_phone_shows_all_without_scrolling_sideways(
    page: Chromium, site: SimpleNamespace, photos: SimpleNamespace, which: str
) -> None:
    page.resize(*PHONE, phone=True)
    opened(page, site)
    wide = "document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(wide) <= 0
    assert page.evaluate("document.getElementById('camera').checkVisibility()")
    assert page.evaluate("document.getElementById('take').getAttribute('capture')") == "environment"
    asked(page, getattr(photos, which))
    page.evaluate("document.getElementById('options').open = true")
    page.evaluate("document.getElementById('wrong').click()")
    assert page.evaluate(wide) <= 0
    assert page.evaluate("window.innerWidth") == PHONE[0]
    small = "[...document.querySelectorAll('.button')].filter((one) => one.checkVisibility() && one.offsetHeight < 32)"
    assert page.evaluate(f"{small}.length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_is_told_from_what_is_behind_it(page: Chromium, photos: SimpleNamespace, dark: bool) -> None:
    page.resize(*DESKTOP, dark=dark)
    brightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)[0]")
    assert (brightness < 60) == dark
    for which in ("known", "unknown"):
        asked(page, getattr(photos, which))
        page.evaluate("document.getElementById('options').open = true")
        page.evaluate("document.getElementById('wrong').click()")
        assert weakest(page, least=50) >= 4.5
    asked(page, photos.text)
    assert weakest(page, least=20) >= 4.5


def weakest(page: Chromium, least: int) -> float:
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) >= least
    return min(contrasts)[0]


def test_the_keyboard_reaches_everything_and_the_focus_is_seen(page: Chromium, photos: SimpleNamespace) -> None:
    asked(page, photos.known)
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(14):
        press(page, "Tab")
        name, ringed, seen = page.evaluate(FOCUSED)
        assert (name, ringed, seen) == (name, True, True)
        reached.append(name)
    assert reached[:6] == ["skip", "choose", "right", "wrong", "", "map-shown"]
    assert reached[6].startswith("leaflet-container") or reached[6] == "map"
    assert {"agreed", "match"} <= set(reached)
    while page.evaluate(FOCUSED)[0] != "match":
        press(page, "Tab")
    press(page, "Tab")
    press(page, "Enter")
    pressed = "[...document.querySelectorAll('.match')].map((one) => one.getAttribute('aria-pressed'))"
    assert page.evaluate(pressed).index("true") == page.evaluate(
        "[...document.querySelectorAll('.match')].indexOf(document.activeElement)"
    )


def press(page: Chromium, key: str) -> None:
    code = {"Tab": 9, "Enter": 13}[key]
    text = {"text": "\r"} if key == "Enter" else {}
    page.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
    page.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)


def test_readers_are_told_the_answer_and_every_control_has_a_name(page: Chromium, photos: SimpleNamespace) -> None:
    assert page.evaluate("document.getElementById('answer').getAttribute('aria-live')") == "polite"
    asked(page, photos.known)
    assert page.evaluate(f"document.getElementById('answer').contains({VERDICT})")
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "checkbox", "combobox", "link", "spinbutton", "application"}
    found = [(node["role"]["value"], node["name"]["value"]) for node in nodes if node["role"]["value"] in controls]
    assert len(found) > 12
    assert [role for role, name in found if not name.strip()] == []


def test_options_bound_the_answer(page: Chromium, photos: SimpleNamespace) -> None:
    asked(page, photos.known)
    page.events.clear()
    given = {"precision": "0.5", "near-first": "51.5", "near-second": "-0.11", "within": "6", "time-of-day": "10:30"}
    for name, value in given.items():
        page.evaluate(f"document.getElementById('{name}').value = '{value}'")
    page.evaluate("document.querySelectorAll('#maps input')[1].click()")
    page.evaluate("document.getElementById('options-form').requestSubmit()")
    page.wait("document.querySelectorAll('.match').length === 1")
    [asked_for] = [url for url in requests(page) if "/v1/localize" in url]
    wanted = {"precision": ["0.5"], "near": ["51.5,-0.11"], "within": ["6"], "time_of_day": ["10:30"], "maps": ["city"]}
    assert parse_qs(urlsplit(asked_for).query) == wanted
    assert page.evaluate("document.querySelector('.match .name').title") == "walk/1.jpg"


def test_a_map_at_least_must_be_ticked(page: Chromium, photos: SimpleNamespace) -> None:
    asked(page, photos.known)
    page.events.clear()
    page.evaluate("document.querySelectorAll('#maps input').forEach((box) => box.click())")
    page.evaluate("document.getElementById('options-form').requestSubmit()")
    page.wait("document.querySelector('.verdict.error')")
    assert page.evaluate(f"{VERDICT}.innerText") == "No map is chosen.\nTick at least one map to look in."
    assert [url for url in requests(page) if "/v1/localize" in url] == []


def test_what_agreed_is_laid_over_the_photo_and_the_chosen_match(page: Chromium, photos: SimpleNamespace) -> None:
    asked(page, photos.known)
    assert page.evaluate("document.getElementById('photo-heat').hidden")
    page.evaluate("document.getElementById('agreed').click()")
    page.wait("document.querySelector('.match .heat')?.naturalWidth === 64")
    assert page.evaluate("document.getElementById('photo-heat').naturalWidth") == 64
    page.evaluate("document.querySelectorAll('.match')[2].click()")
    page.wait("document.querySelectorAll('.match')[2].querySelector('.heat')")
    assert page.evaluate("document.querySelectorAll('.match .heat').length") == 1
    page.evaluate("document.getElementById('agreed').click()")
    assert page.evaluate("document.querySelectorAll('.match .heat').length") == 0
    assert complaints(page) == []


def test_what_users_say_of_answers_is_kept(page: Chromium, site: SimpleNamespace, photos: SimpleNamespace) -> None:
    asked(page, photos.known)
    page.evaluate("document.getElementById('right').click()")
    page.wait("document.getElementById('thanks').textContent.startsWith('Thank you')")
    asked(page, photos.unknown)
    page.evaluate("document.getElementById('wrong').click()")
    page.evaluate("document.getElementById('map').scrollIntoView()")
    page.wait("document.activeElement.id === 'first'")
    x, y = page.evaluate("(({ x, y }) => [x + 60, y + 100])(document.getElementById('map').getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    page.wait("document.getElementById('second').value")
    page.evaluate("document.getElementById('correction').requestSubmit()")
    page.wait("document.getElementById('thanks').textContent.startsWith('Thank you')")
    right, wrong = map(json.loads, site.feedback.read_text().splitlines()[-2:])
    assert right["sha256"] == hashlib.sha256(photos.known.read_bytes()).hexdigest()
    assert (right["verdict"], right["answer"]["known"], right["position"]) == ("right", True, None)
    assert right["answer"]["position"]["latitude"] == pytest.approx(51.5, abs=1e-3)
    assert HOSTILE_NAME in right["answer"]["candidates"]
    assert (wrong["verdict"], wrong["answer"]["known"]) == ("wrong", False)
    assert set(wrong["position"]) in ({"easting", "northing"}, {"latitude", "longitude"})


def test_a_server_that_asks_for_a_token_gets_it(
    browser: Chromium, guarded: SimpleNamespace, photos: SimpleNamespace
) -> None:
    browser.resize(*DESKTOP)
    browser.open(guarded.address)
    browser.wait("!document.getElementById('token-form').hidden")
    for token in ("wrong", TOKEN):
        browser.evaluate(f"document.getElementById('token').value = '{token}'")
        browser.evaluate("document.getElementById('token-form').requestSubmit()")
        browser.wait(f"{VERDICT} || document.querySelector('#map canvas')")
    browser.wait("document.querySelector('#map canvas')")
    assert browser.evaluate("document.getElementById('token-form').hidden")
    assert asked(browser, photos.known).startswith("51.5")
    browser.wait("document.querySelector('.match img')?.naturalWidth === 64")
    assert browser.evaluate("document.querySelector('.match img').src").startswith("blob:")
    offered = "['feedback', 'agreed-label', 'photo-heat'].filter((id) => !document.getElementById(id).hidden)"
    assert browser.evaluate(offered) == []
    # One that is refused later, as after a restart of the server.
    browser.evaluate("import(new URL('page/api.js', location.href)).then((api) => api.useToken('old'))")
    assert asked(browser, photos.unknown).startswith("There is no answer.")
    browser.evaluate(f"document.getElementById('token').value = '{TOKEN}'")
    browser.evaluate("document.getElementById('token-form').requestSubmit()")
    browser.wait("document.querySelector('.verdict.unknown')")
    assert browser.evaluate("document.getElementById('map-shown').length") == 2
    assert browser.evaluate("document.querySelectorAll('#maps label').length") == 2


def test_photos_have_the_same_digest_without_the_browsers_help(page: Chromium) -> None:
    """Lengths around the ends of blocks of 64 bytes."""
    both = """(async () => {
      const { digest, sha256 } = await import(new URL("page/sha256.js", location.href));
      const bytes = (length) => new Uint8Array(length).map((_, i) => (31 * i * i + 7) % 256);
      return Promise.all([0, 55, 56, 63, 64, 119, 120, 70001].map(async (length) =>
        [digest(bytes(length)), await sha256(new Blob([bytes(length)]))]));
    })()"""
    pairs = page.evaluate(both)
    assert len(pairs) == 8
    assert all(own == theirs for own, theirs in pairs)
    assert pairs[0][0] == hashlib.sha256(b"").hexdigest()


def requests(page: Chromium) -> list[str]:
    return [
        event["params"]["request"]["url"] for event in page.events if event["method"] == "Network.requestWillBeSent"
    ]


def complaints(page: Chromium) -> list:
    told = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [event["params"] for event in page.events if event["method"] in told]
