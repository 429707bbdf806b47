import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import load_image
from keras_sare.datasets.images.image_sizes import fitted_size
from keras_sare.extraction.cropped_inputs import CroppedImageInputs, crop_images, cropped_size

SIZES = [(60, 80), (80, 60), (60, 80), (30, 40), (80, 80), (66, 80)]


@pytest.fixture
def paths(tmp_path):
    """Noise of 80 pixels and more, and one smaller image."""
    files = []
    for i, (height, width) in enumerate(SIZES):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (height, width, 3), "uint8")).save(files[-1])
    return np.array([str(path) for path in files], np.dtypes.StringDType())


@pytest.mark.parametrize(
    ("original", "scaled", "left"),
    [
        ((750, 1000), (272, 362), (272, 362)),
        ((1000, 750), (363, 272), (362, 272)),
        ((768, 1024), (272, 362), (272, 362)),
        ((576, 1024), (208, 370), (208, 362)),
        ((204, 363), (203, 362), (192, 362)),
        ((683, 1024), (241, 362), (240, 362)),
        ((500, 500), (362, 362), (362, 362)),
        ((498, 500), (362, 363), (362, 362)),
        ((200, 350), (200, 350), (192, 336)),
        ((40, 8000), (16, 3200), (16, 362)),
        ((5, 3), (27, 16), (16, 16)),
    ],
    ids=str,
)
def test_sizes_by_literal_numbers(original, scaled, left):
    assert cropped_size(*original, 362) == (scaled, left)


def test_at_most_15_pixels_are_lost_and_the_aspect_ratio_is_kept_and_nothing_enlarged():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(100, 2000, (2000, 2)).tolist():
        scaled, left = cropped_size(height, width, 362)
        assert all(0 <= a - b < 16 for a, b in zip(scaled, left, strict=True))
        assert all(b == 362 or b % 16 == 0 for b in left)
        factors = scaled[0] / height, scaled[1] / width
        assert max(factors) <= 1
        assert abs(factors[0] / factors[1] - 1) < 1 / min(scaled)
        if max(height, width) > 362:
            assert max(left) == 362
            assert all(a >= b for a, b in zip(scaled, fitted_size(height, width, 362), strict=True))


def test_there_are_45_sizes_of_larger_images_and_none_without_pixels():
    ratios = np.exp(np.linspace(np.log(1 / 200), np.log(200), 20001))
    sizes = {cropped_size(round(4000 * min(r, 1)), round(4000 * min(1 / r, 1)), 362)[1] for r in ratios}
    assert len(sizes) == 45
    small = {cropped_size(h, w, 362)[1] for h, w in itertools.product(range(1, 400, 3), repeat=2)}
    assert min(min(size) for size in sizes | small) == 16
    assert len(small) <= 23 * 23


def test_images_are_sorted_by_size(paths):
    parts = crop_images(paths, 80)
    assert [images.size for _, images in parts] == [(16, 32), (48, 80), (64, 80), (80, 48), (80, 80)]
    assert [ids.tolist() for ids, _ in parts] == [[3], [0, 2], [5], [1], [4]]
    for ids, images in parts:
        assert images.paths.tolist() == paths[ids].tolist()


def test_pixels_are_the_middle_of_the_scaled_image(paths):
    for ids, images in crop_images(paths, 80):
        assert images.shape == (len(ids), *images.size, 3)
        for image, pixels in zip(ids, images[np.arange(len(ids))], strict=True):
            whole = load_image(str(paths[image]))
            top, left = ((whole.shape[axis] - pixels.shape[axis]) // 2 for axis in (0, 1))
            np.testing.assert_array_equal(pixels, whole[top : top + images.size[0], left : left + images.size[1]])
    [(ids, images)] = crop_images(paths[[1]], 40)
    np.testing.assert_array_equal(images[np.array([0])][0], load_image(str(paths[1]), (43, 32))[1:41])


def test_batches_and_tuples_hold_the_images_that_were_asked_for(paths):
    images = CroppedImageInputs(paths[[0, 2]], np.array([[60, 80]] * 2), (48, 80), 80)
    expected = images[np.array([1, 0, 1])]
    batches = list(images.batches(np.array([1, 0, 1]), 2).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([positions for positions, _ in batches]), [0, 1, 2])
    np.testing.assert_array_equal(np.concatenate([pixels for _, pixels in batches]), expected)
    [gathered] = tf.data.Dataset.from_tensors(np.array([1, 0, 1])).map(images.gather)
    np.testing.assert_array_equal(gathered, expected)
    assert gathered.dtype == tf.float32


def test_image_that_cannot_be_read_is_named(paths, tmp_path):
    images = CroppedImageInputs(paths[[0, 2]], np.array([[60, 80]] * 2), (48, 80), 80)
    (tmp_path / "2.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="Cannot read image .*2.png"):
        images[np.array([0, 1])]
    for dataset in (images.batches(np.arange(2), 2), tf.data.Dataset.from_tensors(np.arange(2)).map(images.gather)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Cannot read image .*2.png"):
            list(dataset)
    with pytest.raises(ValueError, match="Cannot read image .*2.png"):
        crop_images(paths, 80)


def test_longer_side_that_is_too_small_is_refused(paths):
    with pytest.raises(ValueError, match="`longer_side` must be at least 16 pixels. Received: longer_side=15"):
        crop_images(paths, 15)
