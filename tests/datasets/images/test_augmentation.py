import re

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import Augmentation
from keras_sare.datasets.images import augmentation

EVERYTHING = Augmentation(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, scale=0.4, flip=True)
ALONE = [{"brightness": 0.4}, {"contrast": 0.4}, {"saturation": 0.4}, {"hue": 0.1}, {"scale": 0.4}, {"flip": True}]

# Of torchvision 0.28: adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue, and all four one by one.
PIXELS = np.array([[[200, 100, 50], [10, 20, 30]], [[255, 0, 0], [90, 180, 240]]], "float32")
TORCHVISION = {
    ("brightness", 1): [[[255, 140, 70], [14, 28, 42]], [[255, 0, 0], [126, 252, 255]]],
    ("contrast", 1): [[[242.15, 102.15, 32.15], [0, 0, 4.15]], [[255, 0, 0], [88.15, 214.15, 255]]],
    ("saturation", 1): [[[230.33, 90.33, 20.33], [6.74, 20.74, 34.74]], [[255, 0, 0], [62.03, 188.03, 255]]],
    ("hue", 1): [[[200, 190, 50], [12, 10, 30]], [[255, 153, 0], [90, 90, 240]]],
    ("all", 1): [[[218.93, 255, 2.18], [8.56, 0, 14.27]], [[255, 153, 0], [92.57, 157.54, 255]]],
    ("brightness", 0): [[[120, 60, 30], [6, 12, 18]], [[153, 0, 0], [54, 108, 144]]],
    ("contrast", 0): [
        [[157.85, 97.85, 67.85], [43.85, 49.85, 55.85]],
        [[190.85, 37.85, 37.85], [91.85, 145.85, 181.85]],
    ],
    ("saturation", 0): [
        [[169.67, 109.67, 79.67], [13.26, 19.26, 25.26]],
        [[183.49, 30.49, 30.49], [117.97, 171.97, 207.97]],
    ],
    ("hue", 0): [[[200, 50, 90], [10, 30, 28]], [[255, 0, 153], [90, 240, 210]]],
    ("all", 0): [[[83.79, 51.39, 60.03], [27.48, 31.8, 31.37]], [[88.76, 33.68, 66.73], [65.18, 97.58, 91.1]]],
}


@pytest.fixture
def photo():
    return np.random.default_rng(0).uniform(0, 255, (12, 16, 3)).astype("float32")


@pytest.fixture
def draw(monkeypatch):
    """Makes every random number in 0..1 the given one."""

    def draw(value):
        def fixed(shape, seed, alg):
            return tf.fill(shape, float(value))

        monkeypatch.setattr(augmentation.tf.random, "stateless_uniform", fixed)

    return draw


def many(changes, image, count=400):
    """The image changed with so many seeds."""
    seeds = np.stack([np.full(count, 7), np.arange(count)], 1).astype("int32")
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(lambda seed: changes(image, seed))
    return np.stack(list(dataset.as_numpy_iterator()))


@pytest.mark.parametrize("options", [*ALONE, vars(EVERYTHING)])
def test_a_photo_keeps_its_shape_type_and_range_and_the_seed_decides(photo, options):
    changes = Augmentation(**options)
    changed = changes(photo, (1, 2))
    assert (changed.shape, changed.dtype) == (photo.shape, tf.float32)
    np.testing.assert_array_equal(changed, changes(photo, (1, 2)))
    results = many(changes, photo, 50)
    assert results.min() >= 0
    assert results.max() <= 255
    assert len({one.tobytes() for one in results}) == (2 if options == {"flip": True} else 50)


def test_without_changes_the_photo_comes_out_exactly(photo):
    np.testing.assert_array_equal(Augmentation()(photo, (1, 2)), photo)


def test_a_dataset_gives_what_a_call_gives(photo):
    eager = [EVERYTHING(photo, (7, i)) for i in range(4)]
    np.testing.assert_allclose(many(EVERYTHING, photo, 4), eager, atol=1e-4)


def test_images_of_unknown_size_are_changed_too(photo):
    signature = [tf.TensorSpec((None, None, 3)), tf.TensorSpec((2,), tf.int32)]
    changed = tf.function(EVERYTHING.__call__, input_signature=signature)(photo, np.array([7, 0], "int32"))
    np.testing.assert_allclose(changed, EVERYTHING(photo, (7, 0)), atol=1e-4)


@pytest.mark.parametrize(("name", "drawn"), TORCHVISION)
def test_colours_change_as_in_torchvision(name, drawn, draw):
    amounts = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    draw(drawn)
    changes = Augmentation(**(amounts if name == "all" else {name: amounts[name]}))
    np.testing.assert_allclose(changes(PIXELS, (0, 0)), TORCHVISION[name, drawn], atol=0.006)


def test_factors_are_uniform_around_one():
    factors = many(Augmentation(brightness=0.4), np.full((1, 1, 3), 100, "float32"))[:, 0, 0, 0] / 100
    np.testing.assert_allclose(np.quantile(factors, [0, 0.25, 0.5, 0.75, 1]), [0.6, 0.8, 1, 1.2, 1.4], atol=0.05)


def test_a_factor_is_never_negative():
    values = many(Augmentation(brightness=3), np.full((1, 1, 3), 50, "float32"))
    np.testing.assert_allclose([values.min(), values.mean(), values.max()], [0, 100, 200], atol=8)


def test_the_shift_of_hue_is_uniform_around_none():
    red = np.array([[[200, 0, 0]]], "float32")
    _, green, blue = many(Augmentation(hue=1 / 6), red)[:, 0, 0].T
    # Within a sixth of a turn one of the other two colours rises in proportion.
    turns = (green - blue) / 200 / 6
    expected = np.array([-1, -0.5, 0, 0.5, 1]) / 6
    np.testing.assert_allclose(np.quantile(turns, [0, 0.25, 0.5, 0.75, 1]), expected, atol=0.02)


def test_half_of_the_photos_are_mirrored(photo):
    results = many(Augmentation(flip=True), photo)
    mirrored = np.all(results == photo[:, ::-1], axis=(1, 2, 3))
    np.testing.assert_array_equal(results[~mirrored], np.broadcast_to(photo, results[~mirrored].shape))
    assert 0.4 < mirrored.mean() < 0.6


def test_what_one_option_draws_does_not_depend_on_the_others():
    grey = np.full((4, 4, 3), 100, "float32")
    alone = many(Augmentation(brightness=0.2), grey, 20)
    np.testing.assert_allclose(many(Augmentation(brightness=0.2, scale=0.3, flip=True), grey, 20), alone, atol=1e-3)


def test_a_photo_zoomed_in_is_a_stretched_part_of_it(draw):
    """Linear interpolation leaves a ramp a ramp."""
    draw(0.75)
    rows, columns = np.mgrid[:24, :32].astype("float32")
    ramp = np.stack([rows, columns, 0 * rows], axis=-1)
    zoom = 1 + 0.4 / 2  # three quarters of the way from 0.6 to 1.4
    starts = [0.75 * (side - side / zoom) for side in (24, 32)]
    expected = [(at + 0.5) / zoom + start - 0.5 for at, start in zip((rows, columns), starts, strict=True)]
    changed = Augmentation(scale=0.4)(ramp, (0, 0)).numpy()
    np.testing.assert_allclose(changed[1:-1, 1:-1, 0], expected[0][1:-1, 1:-1], atol=1e-4)
    np.testing.assert_allclose(changed[1:-1, 1:-1, 1], expected[1][1:-1, 1:-1], atol=1e-4)


def test_a_photo_zoomed_out_is_mirrored_at_its_borders(photo, draw):
    draw(0)  # the smallest zoom, 0.5, with the photo at the upper left
    window = np.pad(photo, ((0, 12), (0, 16), (0, 0)), "symmetric")
    expected = tf.image.resize(window, (12, 16), antialias=True)
    # The photo's own mirror image lies beyond the window: it takes part in the antialiasing of the border.
    np.testing.assert_allclose(Augmentation(scale=0.5)(photo, (0, 0))[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-3)


def test_zooms_are_uniform_around_one_and_fall_anywhere():
    ramp = np.tile(np.arange(40, dtype="float32")[:, None, None], (1, 40, 3))
    results = many(Augmentation(scale=0.2), ramp)[:, :, 20, 0]
    zooms = 1 / np.median(np.diff(results, axis=1), axis=1)
    np.testing.assert_allclose(np.quantile(zooms, [0, 0.25, 0.5, 0.75, 1]), [0.8, 0.9, 1, 1.1, 1.2], atol=0.02)
    places = (results[:, 20] - 20.5 / zooms + 0.5) / (40 - 40 / zooms)
    clear = places[zooms > 1.05]  # near 1 the quotient is of two numbers near 0; below, antialiasing bends the ramp
    np.testing.assert_allclose(np.quantile(clear, [0, 0.25, 0.5, 0.75, 1]), [0, 0.25, 0.5, 0.75, 1], atol=0.08)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_an_amount_of_colour_that_is_none_is_refused(name, value):
    message = f"`{name}` must be at least 0, and finite; 0 turns it off. Received: {name}={value}"
    with pytest.raises(ValueError, match=re.escape(message)):
        Augmentation(**{name: value})


@pytest.mark.parametrize("name", ["hue", "scale"])
@pytest.mark.parametrize("value", [-0.1, 0.6, float("nan")])
def test_more_than_half_a_turn_or_half_a_size_is_refused(name, value):
    message = f"`{name}` must be between 0 and 0.5; 0 turns it off. Received: {name}={value}"
    with pytest.raises(ValueError, match=re.escape(message)):
        Augmentation(**{name: value})
