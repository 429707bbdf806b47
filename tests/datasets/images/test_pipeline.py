import logging
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import decode_image, find_corrupt, image_batches, load_image
from keras_sare.datasets.images import pipeline as images
from keras_sare.datasets.images import pixels as pixels_module
from keras_sare.datasets.images.image_sizes import fitted_size

SIZE = (12, 16)


def smooth_pixels(height, width, seed=0):
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(seed + rows / (5 + channel) + columns / 7) for channel in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    def write(name, pixels, **options):
        path = str(tmp_path / name)
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def photos(write):
    """Ten photos, the odd ones upright."""
    return [write(f"{i}.jpg", smooth_pixels(*((32, 24) if i % 2 else (24, 32)), seed=i)) for i in range(10)]


def truncate(path):
    Path(path).write_bytes(Path(path).read_bytes()[: os.path.getsize(path) // 2])


def test_a_jpeg_decodes_to_the_pixels_of_pillow(write):
    path = write("a.jpg", smooth_pixels(48, 64))
    image = decode_image(tf.io.read_file(path))
    assert image.dtype == tf.float32
    np.testing.assert_array_equal(image, np.asarray(Image.open(path)))


def test_real_photos_decode_to_the_pixels_of_pillow(real_data):
    paths = sorted(real_data.glob("kitay_gorod/images/*.jpg"))[:3]
    assert len(paths) == 3
    for path in paths:
        np.testing.assert_array_equal(load_image(path), np.asarray(Image.open(path)))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_a_png_of_any_kind_decodes_to_rgb(tmp_path, mode):
    path = str(tmp_path / "a.png")
    picture = Image.fromarray(smooth_pixels(10, 14)).convert(mode)
    picture.save(path)
    np.testing.assert_array_equal(decode_image(tf.io.read_file(path)), np.asarray(picture.convert("RGB")))


def test_a_grey_jpeg_decodes_to_rgb(write):
    path = write("grey.jpg", smooth_pixels(16, 16)[..., 0])
    np.testing.assert_array_equal(load_image(path), np.asarray(Image.open(path).convert("RGB")))


def test_shrinking_is_antialiased_like_pillow(write):
    path = write("a.png", np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    expected = np.asarray(Image.open(path).resize((20, 15), Image.Resampling.BILINEAR), np.float32)
    # Pillow rounds after each of its two passes.
    np.testing.assert_allclose(load_image(path, (15, 20)), expected, atol=1.01)


def test_decoding_runs_in_an_exported_graph(write, tmp_path):
    path = write("a.jpg", smooth_pixels(24, 32))
    module = tf.Module()
    module.decode = tf.function(lambda contents: decode_image(contents, SIZE), [tf.TensorSpec([], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    reloaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(reloaded.decode(tf.io.read_file(path)), load_image(path, SIZE))


def thumbnail(picture, longer_side):
    """cirtorch's `imresize`."""
    picture = picture.convert("RGB")
    picture.thumbnail((longer_side, longer_side), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32)


@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (64, 64), (7, 90)])
@pytest.mark.parametrize("longer_side", [23, 33, 50])
def test_a_limit_of_the_longer_side_gives_the_thumbnail_of_pillow(write, shape, longer_side):
    path = write("a.png", smooth_pixels(*shape))
    image = load_image(path, longer_side)
    assert image.shape == (*fitted_size(*shape, longer_side), 3)
    np.testing.assert_allclose(image, thumbnail(Image.open(path), longer_side), atol=1)


@pytest.mark.parametrize("longer_side", [80, 200])
def test_a_limit_of_the_longer_side_enlarges_nothing(write, longer_side):
    path = write("a.png", smooth_pixels(60, 80))
    np.testing.assert_array_equal(load_image(path, longer_side), load_image(path))


def test_a_real_photo_is_shrunk_as_pillow_shrinks_it(real_data):
    path = min(real_data.glob("kitay_gorod/images/*.jpg"))
    difference = np.abs(load_image(path, 362) - thumbnail(Image.open(path), 362))
    # Pillow rounds and clips between its two passes, which shows where a filter with negative lobes overshoots.
    assert difference.mean() < 0.15
    assert difference.max() < 15


def test_sizes_computed_in_the_graph_are_those_of_fitted_size():
    rng = np.random.default_rng(0)
    signature = [tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.int32)]
    fitted = tf.function(pixels_module.fitted_sides, signature)
    for height, width in rng.integers(2, 60, (150, 2)):
        limit = int(rng.integers(1, max(height, width)))
        size = fitted(np.zeros([height, width, 3], np.uint8), limit)
        assert tuple(size.numpy()) == fitted_size(int(height), int(width), limit)


def test_ties_are_rounded_alike_in_graphs_with_a_constant_limit():
    """A limit that is known when the graph is made lets TensorFlow reorder divisions: 362 x 3 / 4 = 271.5."""
    shapes = [(600, 800), (800, 600), (1536, 2048), (96, 128), (90, 160), (675, 1200)]
    for limit in (362, 50, 90, 38):
        fitted = tf.function(lambda pixels, limit=limit: pixels_module.fitted_sides(pixels, limit))
        for height, width in shapes:
            size = fitted(tf.zeros([height, width, 3], tf.uint8))
            assert tuple(size.numpy()) == fitted_size(height, width, limit), (height, width, limit)


def test_served_photo_has_the_size_of_the_measured_one(real_data):
    path = str(min(real_data.glob("kitay_gorod/images/*.jpg")))
    served = tf.function(lambda contents: decode_image(contents, 362), autograph=False)(tf.io.read_file(path))
    np.testing.assert_array_equal(served, load_image(path, 362))
    np.testing.assert_array_equal(served, next(iter(image_batches([path], 362, 1)))[1][0])


def cropped(path, box, longer_side):
    """What cirtorch's `ImagesFromList` gives for a query with a box."""
    whole = Image.open(path)
    part = whole.crop(box)
    return thumbnail(part, longer_side * max(part.size) / max(whole.size))


@pytest.mark.parametrize("box", [(10, 5, 61, 52), (0.4, 9.5, 30.5, 59.6), (3, 4, 8, 50)])
def test_a_crop_is_scaled_by_the_factor_of_the_whole_image(write, box):
    path = write("a.png", smooth_pixels(60, 80))
    image = load_image(path, 53, box)
    expected = cropped(path, box, 53)
    assert image.shape == expected.shape
    np.testing.assert_allclose(image, expected, atol=1)


@pytest.mark.parametrize("size", [None, 80, 100])
def test_a_crop_of_an_image_that_fits_is_a_slice(write, size):
    path = write("a.png", smooth_pixels(60, 80))
    np.testing.assert_array_equal(load_image(path, size, (10, 5, 61, 52)), load_image(path)[5:52, 10:61])


def test_a_box_is_clipped_to_the_image(write):
    path = write("a.png", smooth_pixels(60, 80))
    np.testing.assert_array_equal(load_image(path, None, (-1e12, -3, 20, 1e12)), load_image(path)[:, :20])


def test_a_crop_has_at_least_one_pixel(write):
    path = write("a.png", smooth_pixels(60, 80))
    assert load_image(path, 5, (7, 8, 9, 10)).shape == (1, 1, 3)


def test_loading_one_image_returns_an_array(write):
    path = write("a.jpg", smooth_pixels(24, 32))
    image = load_image(path, SIZE)
    assert isinstance(image, np.ndarray)
    assert (image.shape, image.dtype) == ((*SIZE, 3), np.float32)


@pytest.mark.parametrize("as_array", [False, True])
def test_resized_batches_keep_the_order(photos, as_array):
    paths = np.array(photos, np.dtypes.StringDType()) if as_array else photos
    batches = list(image_batches(paths, SIZE, batch_size=4))
    assert [indices.numpy().tolist() for indices, _ in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert {pixels.dtype for _, pixels in batches} == {tf.float32}
    pixels = np.concatenate([pixels for _, pixels in batches])
    np.testing.assert_array_equal(pixels, [load_image(path, SIZE) for path in photos])


def test_the_shape_of_resized_batches_is_known_beforehand(photos):
    indices, pixels = image_batches(photos, SIZE, batch_size=4).element_spec
    assert indices == tf.TensorSpec([None], tf.int64)
    assert pixels == tf.TensorSpec([None, *SIZE, 3], tf.float32)


def test_without_a_size_images_of_one_shape_share_a_batch(photos):
    batches = list(image_batches(photos, None, batch_size=4))
    groups = [indices.numpy().tolist() for indices, _ in batches]
    assert sorted(groups) == [[0, 2, 4, 6], [1, 3, 5, 7], [8], [9]]
    for indices, pixels in batches:
        assert pixels.dtype == tf.float32
        np.testing.assert_array_equal(pixels, [load_image(photos[i]) for i in indices.numpy()])


def test_images_of_a_limited_longer_side_share_batches_of_one_shape(photos):
    batches = list(image_batches(photos, 17, batch_size=4))
    assert sorted(indices.numpy().tolist() for indices, _ in batches) == [[0, 2, 4, 6], [1, 3, 5, 7], [8], [9]]
    for indices, pixels in batches:
        assert pixels.dtype == tf.float32
        np.testing.assert_array_equal(pixels, [load_image(photos[i], 17) for i in indices.numpy()])


@pytest.mark.parametrize("size", [None, 17])
def test_each_image_of_a_batch_has_its_own_box(photos, size):
    boxes = np.array([[i, 2, i + 13, 18] for i in range(10)])
    batches = list(image_batches(photos, size, 20, boxes))
    assert [indices.numpy().tolist() for indices, _ in batches] == [list(range(10))]
    expected = [load_image(path, size, box) for path, box in zip(photos, boxes, strict=True)]
    np.testing.assert_array_equal(batches[0][1], expected)


def test_a_box_outside_its_image_stops_the_iteration_by_name(photos):
    boxes = np.tile([0, 0, 9, 9], (10, 1))
    boxes[6] = [40, 0, 50, 9]
    reason = re.escape("6.jpg: its box [40.0, 0.0, 50.0, 9.0] (x1, y1, x2, y2) holds no pixel of its 32 x 24")
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        list(image_batches(photos, 17, 4, boxes))
    with pytest.raises(ValueError, match=reason):
        load_image(photos[6], 17, boxes[6])


def test_images_wait_for_a_batch_of_their_shape_within_a_stretch_only(photos, monkeypatch):
    monkeypatch.setattr(images, "_BATCHES_PER_STRETCH", 1)
    groups = [indices.numpy().tolist() for indices, _ in image_batches(photos, None, batch_size=4)]
    assert [sorted(sum(groups[i : i + 2], [])) for i in (0, 2, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("size", [None, SIZE])
def test_every_run_gives_the_same_batches(photos, size):
    dataset = image_batches(photos, size, batch_size=3)
    runs = [[indices.numpy().tolist() for indices, _ in dataset] for _ in range(2)]
    assert runs[0] == runs[1]


def test_paths_come_in_blocks(photos, monkeypatch):
    monkeypatch.setattr(images, "_PATHS_PER_BLOCK", 3)
    indices = np.concatenate([indices for indices, _ in image_batches(photos, SIZE, batch_size=4)])
    np.testing.assert_array_equal(indices, np.arange(10))


@pytest.mark.parametrize("size", [None, SIZE])
def test_no_paths_give_no_batches(size):
    assert list(image_batches([], size, batch_size=4)) == []


@pytest.mark.parametrize("size", [None, SIZE, 17])
@pytest.mark.parametrize("position", [0, 5, 9])
def test_an_image_that_cannot_be_decoded_stops_the_iteration_by_name(photos, size, position):
    truncate(photos[position])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=f"Cannot read image .*/{position}.jpg: truncated or damaged"
    ):
        list(image_batches(photos, size, batch_size=4))


def test_of_several_broken_images_the_first_is_named(photos):
    truncate(photos[3])
    Path(photos[2]).unlink()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Cannot read image .*/2.jpg: missing"):
        list(image_batches(photos, SIZE, batch_size=4))


def test_whole_images_are_not_corrupt(photos):
    assert find_corrupt(photos) == {}
    assert find_corrupt([]) == {}


def test_corrupt_files_are_found_with_their_reason(photos, tmp_path):
    truncate(photos[1])
    Path(photos[3]).unlink()
    Path(photos[4]).write_bytes(b"")
    Path(photos[6]).write_text("an HTML page of a download that failed")
    Path(photos[7]).unlink()
    Path(photos[7]).mkdir()
    Image.open(photos[0]).save(tmp_path / "a.webp")
    Path(photos[8]).write_bytes((tmp_path / "a.webp").read_bytes()[:-40])
    frames = [Image.open(photos[i]) for i in (0, 2)]
    animations = [str(tmp_path / name) for name in ("animation.webp", "animation.gif")]
    for path in animations:
        frames[0].save(path, save_all=True, append_images=frames[1:])
    assert find_corrupt([*photos, str(tmp_path / "a.webp"), *animations]) == {
        1: "truncated or damaged",
        3: "missing",
        4: "empty file",
        6: "not a JPEG, PNG, GIF or WebP image",
        7: "Is a directory",
        8: "truncated or damaged",
        11: "an animation",
        12: "an animation",
    }


def test_a_jpeg_that_misses_only_its_last_bytes_is_corrupt(photos):
    whole = Path(photos[0]).read_bytes()
    Path(photos[0]).write_bytes(whole[:-2])
    assert find_corrupt(photos[:2]) == {0: "truncated or damaged"}


def test_a_truncated_png_is_corrupt(write):
    path = write("a.png", smooth_pixels(40, 40))
    truncate(path)
    assert find_corrupt([path]) == {0: "truncated or damaged"}


def test_the_check_shows_a_bar_to_those_who_ask_for_messages(photos, capsys, caplog):
    with caplog.at_level(logging.INFO, logger="keras_sare"):
        find_corrupt(photos)
    assert "Checking images" in capsys.readouterr().err


def test_loading_a_missing_image_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"Cannot read image .*/none.jpg: missing"):
        load_image(tmp_path / "none.jpg")


def test_loading_a_truncated_image_names_it(photos):
    truncate(photos[0])
    with pytest.raises(ValueError, match=r"Cannot read image .*/0.jpg: truncated or damaged"):
        load_image(photos[0])


def test_a_batch_size_below_one_is_refused(photos):
    with pytest.raises(ValueError, match="`batch_size` must be at least 1. Received: batch_size=0"):
        image_batches(photos, SIZE, batch_size=0)


@pytest.mark.parametrize("size", [(0, 5), (5,), (5, 5, 3)])
def test_a_size_that_is_no_height_and_width_is_refused(photos, size):
    with pytest.raises(ValueError, match=r"`size` must be \(height, width\) in pixels, a number or None. Received: "):
        image_batches(photos, size, batch_size=2)


def test_a_limit_below_one_pixel_is_refused(photos):
    with pytest.raises(ValueError, match="`size` must be at least 1 pixel for the longer side. Received: size=0"):
        image_batches(photos, 0, batch_size=2)


def test_an_empty_box_is_refused_by_name(photos):
    boxes = np.tile([0, 0, 9, 9], (10, 1))
    boxes[6] = [5, 0, 5, 9]
    with pytest.raises(ValueError, match=r"`boxes` must have x1 < x2 and y1 < y2; 1 have .* of .*/6.jpg"):
        image_batches(photos, 17, 2, boxes)


def test_boxes_that_are_not_one_for_each_image_are_refused(photos):
    with pytest.raises(ValueError, match=r"`boxes` must be x1, y1, x2, y2 for each of the 10 `paths`"):
        image_batches(photos, 17, 2, np.zeros((9, 4)))


def test_boxes_are_refused_where_all_images_get_one_shape(photos):
    with pytest.raises(ValueError, match="`size` must limit the longer side, or be None, where images are cropped"):
        image_batches(photos, SIZE, 2, np.tile([0, 0, 9, 9], (10, 1)))


def test_threads_that_need_a_new_graph_at_once_share_one():
    together = threading.Barrier(4)

    def make(_):
        together.wait()
        return images.bytes_decoder(None, False, "stored", True, 54_321)

    with ThreadPoolExecutor(4) as threads:
        assert len({id(decoder) for decoder in threads.map(make, range(4))}) == 1
