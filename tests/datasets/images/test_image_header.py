"""Files are refused by what their header declares, before anything is decoded."""

import runpy
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import decode_image, find_corrupt, image_batches, image_sizes, load_image, set_max_pixels
from keras_sare.datasets.images.image_header import why_refused
from keras_sare.datasets.images.pixel_limit import MAX_PIXELS

HOSTILE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "data" / "hostile_images.py")))
encode = HOSTILE.encode
noise = HOSTILE.noise
segment = HOSTILE.segment
HEIGHT = 30
WIDTH = 44


@pytest.fixture(scope="module")
def refused():
    """Why a file is refused at a limit, in a graph as an exported model has it."""
    return {limit: graph(limit) for limit in (HEIGHT * WIDTH - 1, HEIGHT * WIDTH, MAX_PIXELS)}


def graph(limit):
    compiled = tf.function(lambda contents: why_refused(contents, limit), [tf.TensorSpec([], tf.string)])
    return lambda contents: compiled(tf.constant(contents)).numpy().decode()


PHOTO = noise(HEIGHT, WIDTH)
JPEG = encode(PHOTO, "JPEG")
FRAME, PAST_FRAME = HOSTILE.frame_at(JPEG)
GIF = encode(PHOTO, "GIF")
EXIF = Image.Exif()
EXIF[0x0112] = 6
# As large as a segment may be, between those that matter.
LONG = segment(0xE5, (b"\xff\xc0\xff\xda" + bytes(996)) * 64)
GOOD = {
    **{f"JPEG {mode}": encode(PHOTO.convert(mode), "JPEG") for mode in ("L", "RGB", "CMYK")},
    "progressive JPEG": encode(PHOTO, "JPEG", progressive=True),
    "JPEG with a thumbnail that is larger": JPEG[:2] + segment(0xE1, HOSTILE.jpeg_of(JPEG, 60000, 60000)) + JPEG[2:],
    "JPEG of many segments": JPEG[:2] + 70 * LONG + JPEG[2:],
    "JPEG with bytes between segments": JPEG[:FRAME] + b"abc\xff\x00\xff\xff\xff\x01\xff\xd0" + JPEG[FRAME:],
    "JPEG with a segment shorter than its length": JPEG[:FRAME] + b"\xff\xfe\0\0" + JPEG[FRAME:],
    **{f"PNG {mode}": encode(PHOTO.convert(mode), "PNG") for mode in ("1", "L", "P", "RGB", "RGBA")},
    "GIF": GIF,
    "GIF with a smaller screen": GIF[:6] + struct.pack("<HH", 3, 3) + GIF[10:],
    "GIF with remarks": encode(PHOTO, "GIF", comment=b"," * 700),
    "WebP": encode(PHOTO, "WEBP"),
    "lossless WebP": encode(PHOTO, "WEBP", lossless=True),
    "extended WebP": encode(PHOTO, "WEBP", exif=EXIF),
    "transparent WebP": encode(noise(HEIGHT, WIDTH, "RGBA"), "WEBP"),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_limit_is_held_against_the_size_that_is_decoded(refused, name):
    contents = GOOD[name]
    assert decode_image(contents, orientation="stored").shape == (HEIGHT, WIDTH, 3)
    assert refused[HEIGHT * WIDTH](contents) == ""
    text = f"too large: declares {WIDTH} x {HEIGHT} pixels, at most {HEIGHT * WIDTH - 1} are read (max_pixels)"
    assert refused[HEIGHT * WIDTH - 1](contents) == text


def swapped(contents, old, new):
    assert contents.count(old) == 1
    return contents.replace(old, new)


def frames(count, height=HEIGHT, width=WIDTH):
    rest = [noise(height, width).rotate(90 * i) for i in range(1, count)]
    return encode(noise(height, width), "GIF", save_all=True, append_images=rest)


EXTENDED = encode(PHOTO, "WEBP", exif=EXIF)
LARGE = HOSTILE.jpeg_of(JPEG, 60000, 50000)
BAD = {
    "WebP of 40 bytes": (HOSTILE.webp_of_one_colour(16383, 16383), "too large: declares 16383 x 16383"),
    "PNG": (HOSTILE.png_of(1 << 30, 1 << 30), "too large: declares 1073741824 x 1073741824"),
    "JPEG": (LARGE, "too large: declares 60000 x 50000"),
    "JPEG behind many segments": (LARGE[:2] + 70 * LONG + LARGE[2:], "too large"),
    "JPEG behind other bytes": (LARGE[:FRAME] + b"abc\xff\x00\xff\xff\xff\x01\xff\xd0" + LARGE[FRAME:], "too large"),
    "JPEG with a small thumbnail": (LARGE[:2] + segment(0xE1, JPEG) + LARGE[2:], "too large"),
    "GIF": (
        swapped(GIF, b"," + struct.pack("<4H", 0, 0, WIDTH, HEIGHT), b"," + struct.pack("<4H", 0, 0, 65535, 65535)),
        "too large: declares 65535 x 65535",
    ),
    "canvas of a WebP": (EXTENDED[:24] + b"\xff\xff\xff" + EXTENDED[27:], "too large: declares 16777216 x 30"),
    "GIF of two frames": (frames(2), "an animation"),
    "GIF of 300 frames": (frames(300), "an animation"),
    "GIF of tiny blocks": (GIF[:-1] + b"\x21\xfe" + b"\x01a" * 100_000 + b"\0;", "truncated or damaged"),
    "PNG whose header is not first": (
        (png := encode(PHOTO, "PNG"))[:8] + HOSTILE.chunk(b"teSt", b"abc") + png[8:],
        "truncated or damaged",
    ),
    "WebP that begins with another chunk": (
        (webp := encode(PHOTO, "WEBP"))[:12] + b"JUNK\x02\0\0\0ab" + webp[12:],
        "truncated or damaged",
    ),
    "JPEG without a frame": (JPEG[:FRAME] + JPEG[PAST_FRAME:], "truncated or damaged"),
    "JPEG of two bytes": (b"\xff\xd8\xff", "truncated or damaged"),
    "nothing": (b"", "empty"),
    "text": (b"<html>an error page</html>", "not a JPEG, PNG, GIF or WebP image"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_declares_too_much_is_refused_undecoded(refused, name):
    contents, reason = BAD[name]
    assert refused[MAX_PIXELS](contents).startswith(reason)
    assert why_refused(contents).numpy().decode().startswith(reason)


@pytest.mark.parametrize(
    "contents",
    [
        JPEG[:FRAME] + JPEG[FRAME:PAST_FRAME] + LARGE[FRAME:],
        EXTENDED[:24] + b"\x01\0\0\x01\0\0" + EXTENDED[30:],
        EXTENDED[:24] + b"\xff\0\0" + EXTENDED[27:],
        (png := encode(PHOTO, "PNG"))[:33] + HOSTILE.png_of(9000, 9000)[8:33] + png[33:],
    ],
    ids=["JPEG of two frames", "WebP larger than its canvas", "WebP smaller than its canvas", "PNG of two headers"],
)
def test_the_decoder_refuses_files_that_declare_two_sizes(refused, contents):
    assert refused[MAX_PIXELS](contents) == ""
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(contents)


def test_a_progressive_file_may_have_more_scans_the_smaller_it_is():
    contents = encode(noise(64, 64), "JPEG", progressive=True)
    last = contents.rindex(b"\xff\xda")
    many = contents[:last] + 990 * contents[last:-2] + b"\xff\xd9"
    assert graph(64 * 64 * 100)(many) == ""
    assert graph(64 * 64 * 10)(many) == "too many scans: 999 of 64 x 64 pixels"


def test_random_damage_to_a_header_never_makes_the_reader_fail(refused):
    rng = np.random.default_rng(0)
    for contents in (JPEG, GIF, EXTENDED, encode(PHOTO, "PNG")):
        for _ in range(25):
            damaged = np.frombuffer(contents, np.uint8).copy()
            damaged[rng.integers(0, min(len(contents), 700), 20)] = rng.integers(0, 256, 20)
            reason = refused[MAX_PIXELS](damaged[: rng.integers(1, len(damaged))].tobytes())
            assert reason.startswith(("too large", "truncated", "not a", "an animation", "too many")) or reason == ""


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(JPEG)
    return str(path)


LIMITED = f"photo.jpg: too large: declares {WIDTH} x {HEIGHT} pixels, at most 1000 are read"


def test_every_reader_of_files_takes_the_limit_and_names_the_file(photo):
    with pytest.raises(ValueError, match=LIMITED):
        load_image(photo, max_pixels=1000)
    for size in (None, 20, (20, 20)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=LIMITED):
            list(image_batches([photo], size, 2, max_pixels=1000))
    assert find_corrupt([photo], max_pixels=1000)[0].startswith("too large: declares 44 x 30")
    assert find_corrupt([photo]) == {}


def test_the_limit_of_the_process_holds_for_every_reader_that_is_told_no_other(photo):
    read = image_batches([photo], 20, 2)
    set_max_pixels(1000)
    try:
        with pytest.raises(ValueError, match=LIMITED):
            load_image(photo)
        with pytest.raises(tf.errors.InvalidArgumentError, match=LIMITED):
            list(image_batches([photo], 20, 2))
        with pytest.raises(ValueError, match=LIMITED):
            image_sizes([photo])
        assert list(find_corrupt([photo])) == [0]
        assert load_image(photo, max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(ValueError, match="`max_pixels` must be at least 1"):
            set_max_pixels(0)
    finally:
        set_max_pixels(None)
    assert len(list(read)) == len(list(image_batches([photo], 20, 2))) == 1


@pytest.mark.parametrize("max_pixels", [0, -5, 2**29])
def test_a_limit_that_means_nothing_is_refused(photo, max_pixels):
    text = f"`max_pixels` must be at least 1, and at most 536870911.* Received: max_pixels={max_pixels}"
    for read in (load_image, lambda path, **limit: image_batches([path], None, 2, **limit)):
        with pytest.raises(ValueError, match=text):
            read(photo, max_pixels=max_pixels)
    with pytest.raises(ValueError, match=text):
        find_corrupt([photo], max_pixels=max_pixels)


def test_a_photo_of_108_megapixels_is_read_by_default(refused):
    assert refused[MAX_PIXELS](HOSTILE.jpeg_of(JPEG, 12000, 9000)) == ""
