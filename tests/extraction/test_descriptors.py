from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import ShorterSide, load_image
from keras_sare.extraction import extract
from keras_sare.layers import MAC, ImagePreprocessing

SIZES = [(60, 80), (80, 60), (45, 50), (60, 80), (33, 97)]


def make_model(antialias=True):
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, 3))
    prepared = ImagePreprocessing((100.0, 110.0, 120.0), (50.0, 50.0, 50.0), antialias=antialias)(images)
    return keras.Model(images, MAC()(keras.layers.Conv2D(6, 3, 2)(prepared)))


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos whose names are not in the order in which they were written; one lies in a sub-folder, one on its side."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "b").mkdir()
    rng = np.random.default_rng(0)
    for name, size in zip(["z.jpg", "b/c.png", "a.png", "m.jpg", "b/a.jpg"], SIZES, strict=True):
        rows = np.linspace(0, 255, size[0])[:, None, None]
        pixels = np.clip(rows + rng.normal(0, 20, (*size, 3)), 0, 255).astype(np.uint8)
        exif = Image.Exif()
        if name == "z.jpg":
            exif[0x0112] = 6
        Image.fromarray(pixels).save(folder / name, exif=exif)
    return folder


def one_by_one(model, paths, size, **options):
    return np.concatenate([model(load_image(path, size, **options)[None]) for path in paths])


@pytest.mark.parametrize("size", [None, 50, (32, 48), ShorterSide(40)])
def test_descriptors_of_files_are_those_of_the_images_one_by_one_in_the_order_of_the_files(model, folder, size):
    paths = [folder / name for name in ("z.jpg", "a.png", "b/c.png", "m.jpg", "z.jpg")]
    descriptors = extract(model, paths, size, batch_size=2)
    assert (descriptors.dtype, descriptors.shape) == (np.float32, (5, 6))
    np.testing.assert_allclose(descriptors, one_by_one(model, paths, size), atol=1e-5)
    np.testing.assert_array_equal(descriptors, extract(model, np.array(list(map(str, paths))), size, batch_size=2))


def test_a_folder_gives_all_of_its_images_by_path(model, folder):
    paths = [folder / name for name in ("a.png", "b/a.jpg", "b/c.png", "m.jpg", "z.jpg")]
    np.testing.assert_allclose(extract(model, folder, 40), one_by_one(model, paths, 40), atol=1e-5)
    np.testing.assert_array_equal(extract(model, str(folder), 40), extract(model, folder, 40))


def test_pixels_are_taken_as_they_are_whatever_their_type(model, folder):
    pixels = np.stack([load_image(folder / name, (32, 48)) for name in ("a.png", "m.jpg", "z.jpg")])
    expected = extract(model, [folder / name for name in ("a.png", "m.jpg", "z.jpg")], (32, 48))
    np.testing.assert_allclose(extract(model, pixels, batch_size=2), expected, atol=1e-5)
    np.testing.assert_allclose(extract(model, pixels, (32, 48)), expected, atol=1e-5)
    whole = np.round(pixels)
    np.testing.assert_array_equal(extract(model, whole.astype(np.uint8)), extract(model, whole))


def test_orientation_and_antialiasing_are_those_that_are_asked_for_and_that_the_model_wants(model, folder):
    paths = [folder / "z.jpg"]
    stored = extract(model, paths, 40, orientation="stored")
    np.testing.assert_allclose(stored, one_by_one(model, paths, 40, orientation="stored"), atol=1e-5)
    assert np.abs(stored - extract(model, paths, 40)).max() > 1e-3
    aliased = extract(make_model(antialias=False), paths, 20)
    np.testing.assert_allclose(aliased, one_by_one(model, paths, 20, antialias=False), atol=1e-5)
    assert np.abs(aliased - extract(model, paths, 20)).max() > 1e-3


def test_an_array_is_filled_and_what_exceeds_the_limit_is_a_file(model, folder, tmp_path):
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", "float32", (5, 6))
    assert extract(model, folder, 40, out=out) is out
    large = extract(model, folder, 40, memory_limit=100)
    assert isinstance(large, np.memmap)
    np.testing.assert_array_equal(large, out)


def test_what_cannot_be_extracted_is_said_in_one_line_with_the_file(model, folder, tmp_path):
    (tmp_path / "broken.jpg").write_bytes((folder / "m.jpg").read_bytes()[:300])
    Image.new("RGB", (80, 2)).save(tmp_path / "small.png")
    for name, message in (
        ("broken.jpg", "broken.jpg.*truncated or damaged"),
        ("missing.jpg", "missing.jpg"),
        ("small.png", "Cannot extract .*small.png.* at least 3 pixels"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            extract(model, [folder / "m.jpg", tmp_path / name])
        assert len(str(raised.value).splitlines()) == 1


def test_bad_arguments_are_refused_before_anything_is_read(model, folder):
    pixels = np.zeros((2, 32, 48, 3), np.float32)
    for images, options, message in (
        ([], {}, "`images` must name at least one image file. Received: none"),
        (Path("nowhere"), {}, "`images` must be the folder with the image files. Received: images=nowhere"),
        (pixels[0], {}, r"`images` must be pixels \[N, height, width, 3\].*\(32, 48, 3\)"),
        (pixels, {"size": (32, 32)}, r"`size` must be None for pixels.*size=\(32, 32\)"),
        (folder, {"batch_size": 0}, "`batch_size` must be at least 1. Received: batch_size=0"),
        (folder, {"orientation": "sideways"}, "`orientation` must be one of upright, stored"),
        (folder, {"out": np.zeros((4, 6), np.float32)}, r"`out` must have the shape \(5, 6\).*\(4, 6\)"),
    ):
        with pytest.raises(ValueError, match=message):
            extract(model, images, **options)
