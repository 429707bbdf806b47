import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.images.image_sizes import fitted_size, image_sizes


@pytest.fixture
def files(tmp_path):
    """Files of five kinds and sizes, with their (height, width)."""
    sizes = {"a.jpg": (20, 31), "b.png": (7, 5), "c.gif": (1, 64), "d.jpeg": (300, 200), "e.webp": (9, 40)}
    for name, (height, width) in sizes.items():
        Image.new("RGB", (width, height)).save(tmp_path / name)
    return {str(tmp_path / name): size for name, size in sizes.items()}


class Canvas(Image.Image):
    """An image of a size but without pixels: tells what `thumbnail` would resize it to."""

    def __init__(self, height, width):
        super().__init__()
        self._size = (width, height)
        self.asked = (width, height)

    def load(self):
        return None

    def resize(self, size, *_, **__):
        self.asked = size
        return Image.new("1", size)


def test_sizes_are_heights_and_widths_in_the_order_of_the_files(files):
    paths = list(files) * 40
    sizes = image_sizes(np.array(paths, np.dtypes.StringDType()))
    assert (sizes.dtype, sizes.shape) == (np.int64, (200, 2))
    np.testing.assert_array_equal(sizes, list(files.values()) * 40)


def test_no_files_have_no_sizes():
    assert image_sizes([]).shape == (0, 2)


def test_only_the_header_is_read(files):
    path = next(path for path in files if path.endswith("d.jpeg"))
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: len(whole) // 2])
    assert image_sizes([path]).tolist() == [[300, 200]]


def test_sizes_of_real_photos_are_those_of_their_pixels(real_data):
    paths = sorted(map(str, real_data.glob("sceaux_castle/images/*")))[:2]
    assert len(paths) == 2
    np.testing.assert_array_equal(image_sizes(paths), [np.asarray(Image.open(path)).shape[:2] for path in paths])


def test_reading_shows_a_bar_to_those_who_ask_for_messages(files, capsys, caplog):
    with caplog.at_level(logging.INFO, logger="keras_sare"):
        image_sizes(list(files))
    assert "Image sizes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(None, "missing"), (b"", "empty file"), (b"<html>", "not a JPEG, PNG, GIF or WebP image")],
)
def test_a_file_without_a_size_is_named(files, tmp_path, contents, reason):
    if contents is not None:
        (tmp_path / "bad.jpg").write_bytes(contents)
    with pytest.raises(ValueError, match=f"Cannot read image .*/bad.jpg: {reason}"):
        image_sizes([*files, str(tmp_path / "bad.jpg")])


def test_a_fitted_size_is_that_of_a_thumbnail_of_pillow():
    rng = np.random.default_rng(0)
    # The first ones lie halfway between two numbers, where floating point decides.
    cases = [(1868, 934, 777), (1440, 300, 876), (1868, 777, 934), *rng.integers(1, 3000, (5000, 3)).tolist()]
    for height, width, longer_side in cases:
        canvas = Canvas(height, width)
        canvas.thumbnail((longer_side, longer_side))
        assert fitted_size(height, width, longer_side) == canvas.asked[::-1]


@pytest.mark.parametrize(
    ("size", "longer_side", "expected"),
    [((750, 1000), 362, (272, 362)), ((1000, 750), 362, (362, 271)), ((9, 9), 4, (4, 4)), ((1, 5000), 10, (1, 10))],
)
def test_fitted_sizes_keep_the_ratio(size, longer_side, expected):
    # 271.5: the ratio with 272 is nearer where it is width over a rounded height.
    assert fitted_size(*size, longer_side) == expected


@pytest.mark.parametrize("longer_side", [1000, 1024])
def test_nothing_is_enlarged(longer_side):
    assert fitted_size(1000, 750, longer_side) == (1000, 750)


@pytest.mark.parametrize("arguments", [(0, 5, 5), (5, 0, 5), (5, 5, 0)])
def test_sizes_below_one_pixel_are_refused(arguments):
    with pytest.raises(ValueError, match="`height`, `width` and `longer_side` must be at least 1 pixel. Received: "):
        fitted_size(*arguments)
