"""Photos as strangers send them: an answer or an error each, and the server goes on."""

import base64
import struct
import zlib
from types import SimpleNamespace

import pytest
from PIL import Image

from .conftest import encoded, picture

GOOD = encoded(picture(3, 80))
PNG = encoded(picture(3, 80), "PNG")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG file that says to be of a size, grey."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG file whose header says another size."""
    start = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:start] + struct.pack(">HH", height, width) + jpeg[start + 4 :]


def unreadable() -> dict[str, tuple[bytes, str]]:
    """By what they are: the file, and what is said of it."""
    zeros = zlib.compress(bytes(10**6))
    gif = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0, 0, 0) + b"," + struct.pack("<HHHH", 0, 0, 65_535, 65_535)
    frames = [picture(place, 0) for place in (1, 2, 3)]
    more = {"save_all": True, "append_images": frames[1:]}
    return {
        "nothing": (b"", "empty"),
        "text": (b"Where was this taken?", "not a JPEG, PNG, GIF or WebP image"),
        "a page": (b"<!doctype html><svg onload=alert(1)>", "not a JPEG, PNG, GIF or WebP image"),
        "zeros": (bytes(5000), "not a JPEG, PNG, GIF or WebP image"),
        "a cut JPEG": (GOOD[: len(GOOD) // 2], "truncated or damaged"),
        "a JPEG's beginning": (GOOD[:3], "truncated or damaged"),
        "a cut PNG": (PNG[: len(PNG) // 2], "truncated or damaged"),
        "a huge PNG": (png(60_000, 60_000, chunk(b"IDAT", zeros)), "too large: declares 60000 x 60000 pixels"),
        "a PNG beyond 32 bits": (png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", zeros)), "too large"),
        "a huge JPEG": (resized(GOOD, 65_000, 65_000), "too large: declares 65000 x 65000 pixels"),
        "a JPEG without rows": (resized(GOOD, 64, 0), "truncated or damaged"),
        "a huge GIF": (gif + bytes(20), "too large: declares 65535 x 65535 pixels"),
        "a moving GIF": (encoded(frames[0], "GIF", **more), "an animation"),
        "a moving WebP": (encoded(frames[0], "WEBP", **more), "an animation"),
        "a bitmap": (encoded(picture(3, 80), "BMP"), "not a JPEG, PNG, GIF or WebP image"),
        "a TIFF": (encoded(picture(3, 80), "TIFF"), "not a JPEG, PNG, GIF or WebP image"),
    }


def readable() -> dict[str, bytes]:
    """By what they are: unusual files that are photos all the same."""
    turned = Image.Exif()
    turned[0x0112] = 8
    picture_3 = picture(3, 80)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**26)))
    return {
        "one pixel": encoded(picture_3.resize((1, 1)), "PNG"),
        "very wide": encoded(picture_3.resize((4000, 1)), "PNG"),
        "CMYK": encoded(picture_3.convert("CMYK")),
        "16 bits": encoded(picture_3.convert("I;16"), "PNG"),
        "grey": encoded(picture_3.convert("L")),
        "black and white": encoded(picture_3.convert("1"), "PNG"),
        "a palette with transparency": encoded(picture_3.quantize(8), "PNG", transparency=0),
        "transparency": encoded(picture_3.convert("RGBA"), "PNG"),
        "progressive": encoded(picture_3, progressive=True),
        "WebP": encoded(picture_3, "WEBP", lossless=True),
        "a still GIF": encoded(picture_3, "GIF"),
        "a text of 64 MB": PNG[:33] + text + PNG[33:],
        "bytes after its end": GOOD + b"PK\x03\x04" + bytes(1000),
        "turned by EXIF": encoded(picture_3.transpose(Image.Transpose.ROTATE_270), "PNG", exif=turned),
    }


@pytest.mark.parametrize("kind", ["unreadable", "readable"])
def test_each_has_an_answer_or_an_error_of_its_own(served: SimpleNamespace, kind: str) -> None:
    cases = unreadable() if kind == "unreadable" else {name: (file, "") for name, file in readable().items()}
    (before,) = served.client.localize([GOOD])
    photos = [GOOD, *(file for file, _ in cases.values())]
    answers = served.client.localize(photos, batch_size=5)
    assert answers[0] == before
    for name, (_, error), answer in zip(cases, cases.values(), answers[1:], strict=True):
        assert (answer.error or "").startswith(error), name
        assert bool(answer.candidates) == (not error), name
    for start in range(0, len(photos), 16):
        body = {"photos": [{"b64": base64.b64encode(photo).decode()} for photo in photos[start : start + 16]]}
        received = served.http.post("/v1/localize", json=body)
        assert received.status_code == 200
        errors = [answer.error for answer in answers[start : start + 16]]
        assert [answer.get("error") for answer in received.json()["answers"]] == errors
    assert served.client.localize([GOOD]) == [before]


def test_a_turned_photo_is_located_as_the_upright_one(served: SimpleNamespace) -> None:
    upright, turned = served.client.localize([PNG, readable()["turned by EXIF"]], k=1, maps=["town"])
    assert turned.candidates[0].score == pytest.approx(upright.candidates[0].score, abs=1e-6)
    assert turned.candidates[0].name == upright.candidates[0].name
