"""Every reader says in the same words why a file cannot be used, or reads it."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import find_corrupt, image_batches, image_sizes, load_image
from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.datasets.images.unreadable import why_unreadable
from keras_sare.evaluation.plots.pictures import NEUTRAL, open_picture

HOSTILE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "data" / "hostile_images.py")))
PHOTO = HOSTILE.noise(30, 44)
JPEG = HOSTILE.encode(PHOTO, "JPEG")
PNG = HOSTILE.encode(PHOTO, "PNG")
HEADER = PNG[:33]
BAD = {
    "empty.jpg": (b"", "empty file"),
    "page.jpg": (b"<html>an error page</html>", "not a JPEG, PNG, GIF or WebP image"),
    "bitmap.jpg": (HOSTILE.encode(PHOTO, "BMP"), "not a JPEG, PNG, GIF or WebP image"),
    "cut.jpg": (JPEG[:300], "truncated or damaged"),
    "180_megapixels.jpg": (HOSTILE.jpeg_of(JPEG, 15000, 12000), "too large: declares 15000 x 12000"),
    "bomb.webp": (HOSTILE.webp_of_one_colour(16383, 16383), "too large: declares 16383 x 16383"),
    "bomb.png": (HOSTILE.png_of(60000, 60000), "too large: declares 60000 x 60000"),
    # Pillow raises SyntaxError and ValueError on these.
    "broken_chunk.png": (HEADER[:8] + b"\0\0\0\x05IHDR" + HEADER[16:], "truncated or damaged"),
    "short_chunk.png": (HEADER + HOSTILE.chunk(b"gAMA", b"\0"), "truncated or damaged"),
}


@pytest.fixture
def folder(tmp_path):
    for name, (contents, _) in BAD.items():
        (tmp_path / name).write_bytes(contents)
    (tmp_path / "good.jpg").write_bytes(JPEG)
    return tmp_path


@pytest.mark.parametrize("name", BAD)
def test_every_reader_names_the_file_and_gives_the_same_reason(folder, name):
    path = str(folder / name)
    reason = BAD[name][1]
    assert why_unreadable(path).startswith(reason)
    text = f"Cannot read image .*{name}: {reason}"
    for read in (load_image, lambda path: image_sizes([path]), lambda path: list(image_batches([path], None, 1))):
        with pytest.raises(Exception, match=text):
            read(path)


def test_they_are_named_left_out_and_counted_together(folder, caplog):
    paths = np.array([str(folder / name) for name in [*BAD, "good.jpg"]], np.dtypes.StringDType())
    assert list(find_corrupt(paths)) == list(range(len(BAD)))
    assert readable_images(paths, "town", "database", 1.0).tolist() == [len(BAD)]
    for name, (_, reason) in BAD.items():
        assert f"{name}: {reason}" in caplog.text
    assert f"{len(BAD)} of {len(paths)} images cannot be read" in caplog.text


def test_a_picture_of_an_evaluation_shows_a_grey_field_in_their_place(folder, caplog):
    for name, (_, reason) in BAD.items():
        if reason.startswith("truncated"):
            continue
        picture = open_picture(folder / name)
        if name != "bitmap.jpg":
            assert picture.getcolors() == [(320 * 240, Image.new("RGB", (1, 1), NEUTRAL).getpixel((0, 0)))], name
            assert f"{name}: {reason}" in caplog.text


def test_long_texts_and_profiles_do_not_make_a_file_unreadable(tmp_path):
    """Pillow refuses more than a megabyte of them, though the pixels are whole."""
    profile = np.random.default_rng(0).bytes(10) + bytes(3 << 20)
    files = {
        "text.png": HOSTILE.png_with_text(PHOTO),
        "profile.png": HOSTILE.encode(PHOTO, "PNG", icc_profile=profile),
    }
    for name, contents in files.items():
        path = tmp_path / name
        path.write_bytes(contents)
        assert why_unreadable(path) is None
        assert image_sizes([str(path)]).tolist() == [[30, 44]]
        np.testing.assert_array_equal(load_image(path), np.asarray(PHOTO, np.float32))
        np.testing.assert_array_equal(np.asarray(open_picture(path)), np.asarray(PHOTO))


def test_real_files_that_broke_a_reader_are_read_or_named(real_data):
    for path in sorted((real_data.parent / "cases").glob("*.*")):
        if path.suffix not in (".png", ".bin"):
            continue
        reason = why_unreadable(path)
        if reason is None:
            assert image_sizes([str(path)]).tolist() == [list(load_image(path).shape[:2])]
            continue
        with pytest.raises(ValueError, match=f"Cannot read image .*{path.name}: "):
            load_image(path)
