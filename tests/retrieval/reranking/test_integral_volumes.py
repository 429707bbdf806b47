import numpy as np
import pytest

from keras_sare.retrieval.reranking.integral_volumes import IntegralVolume, quantise_activations


def levels(seed=0, shape=(13, 17, 6), highest=8):
    """Sparse, and seldom strong, as activations after a ReLU are."""
    return np.floor((highest + 1) * np.random.RandomState(seed).random_sample(shape) ** 6).astype(np.uint8)


def loaded(activations, power=10):
    volume = IntegralVolume(power)
    volume.load(activations)
    return volume


def all_boxes(height, width):
    return np.array(
        [
            (y1, x1, y2, x2)
            for y1 in range(height)
            for x1 in range(width)
            for y2 in range(y1 + 1, height + 1)
            for x2 in range(x1 + 1, width + 1)
        ]
    )


def inside(activations, box):
    y1, x1, y2, x2 = box
    return activations[y1:y2, x1:x2].reshape(-1, activations.shape[2])


def test_quantising_gives_the_levels_that_the_authors_store():
    values = np.array([-3, 0, 0.5, 0.99, 1, 16.9, 17, 33, 112.5, 113, 127, 128, 1000])
    authors = np.floor((15 + np.minimum(np.maximum(values, 0), 128)) / 16)

    quantised = quantise_activations(values)

    assert quantised.dtype == np.uint8
    np.testing.assert_array_equal(quantised, authors)
    np.testing.assert_array_equal(quantised, [0, 0, 0, 0, 1, 1, 2, 3, 7, 8, 8, 8, 8])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32])
def test_every_whole_activation_gets_the_authors_level_in_any_dtype(dtype):
    values = np.arange(300).astype(dtype)

    np.testing.assert_array_equal(quantise_activations(values), (15 + np.minimum(np.arange(300), 128)) // 16)


def test_a_limit_and_more_levels_only_rescale():
    values = np.random.default_rng(0).uniform(0, 160, 200)

    np.testing.assert_array_equal(quantise_activations(values / 4, 32.0), quantise_activations(values))
    np.testing.assert_array_equal(
        quantise_activations(values, 128, 16), np.floor(np.minimum(values, 128) / 8 + 15 / 16)
    )
    assert quantise_activations(np.array([1e9]), 32, 255)[0] == 255


def test_sums_of_all_boxes_are_exact():
    activations = levels(highest=16)
    boxes = all_boxes(*activations.shape[:2])[::7]

    sums = loaded(activations).sums(boxes)

    # Whole numbers of any size, in Python.
    direct = [(inside(activations, box).astype(object) ** 10).sum(axis=0) for box in boxes]
    np.testing.assert_array_equal(sums, np.array(direct, np.float64))
    assert max(int(value) for row in direct for value in row) > 2**40


def test_a_weak_activation_is_not_drowned_by_strong_ones_elsewhere():
    activations = np.full((30, 40, 1), 8, np.uint8)
    activations[20:, 30:] = 0
    activations[25, 35] = 1

    assert loaded(activations).sums(np.array([[20, 30, 30, 40]]))[0, 0] == 1
    # Why the sums are float64.
    single = np.cumsum(np.cumsum(np.pad(activations[..., 0], ((1, 0), (1, 0))).astype(np.float32) ** 10, 0), 1)
    assert abs(single[30, 40] - single[20, 40] - single[30, 30] + single[20, 30]) != 1


@pytest.mark.parametrize("power", [1, 3, 10])
def test_approximate_maxima_are_the_roots_of_the_sums(power):
    activations = levels()
    boxes = all_boxes(*activations.shape[:2])[::11]
    volume = loaded(activations, power)

    maxima = volume.maxima(volume.sums(boxes))

    direct = [(inside(activations, box).astype(np.float64) ** power).sum(axis=0) ** (1 / power) for box in boxes]
    assert maxima.dtype == np.float32
    np.testing.assert_allclose(maxima, direct, rtol=1e-6)


def test_approximate_maxima_lie_between_the_maximum_and_the_bound_for_the_area():
    activations = levels(1)
    boxes = all_boxes(*activations.shape[:2])[::5]
    volume = loaded(activations)

    maxima = volume.maxima(volume.sums(boxes))

    true = np.array([inside(activations, box).max(axis=0) for box in boxes], np.float64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert (maxima >= true * (1 - 1e-6)).all()
    assert (maxima <= true * areas[:, None] ** 0.1 * (1 + 1e-6)).all()
    errors = (maxima / np.maximum(true, 1) - 1)[true > 0]
    # 3.7 % on average and 23.8 % at most on these maps; 15 % and 79 % on VGG16's of real photos.
    assert errors.mean() < 0.038
    assert errors.max() < 0.24


def test_a_greater_power_is_nearer_to_the_maximum():
    activations = levels(2)
    boxes = all_boxes(*activations.shape[:2])[::29]
    true = np.array([inside(activations, box).max(axis=0) for box in boxes])

    errors = []
    for power in (2, 5, 10, 15):
        volume = loaded(activations, power)
        errors.append(np.abs(volume.maxima(volume.sums(boxes)) - true).mean())

    assert errors == sorted(errors, reverse=True)


def test_boxes_of_a_grid_are_those_given_one_by_one():
    volume = loaded(levels())
    step = 3

    grids = list(volume.grid_sums(5, [2, 5, 11], step))

    for width, sums in zip([2, 5, 11], grids, strict=True):
        rows = range(0, 13 - 5 + 1, step)
        columns = range(0, 17 - width + 1, step)
        assert sums.shape == (len(rows), len(columns), 6)
        boxes = np.array([(y, x, y + 5, x + width) for y in rows for x in columns])
        np.testing.assert_array_equal(sums.reshape(-1, 6), volume.sums(boxes))


def test_one_volume_serves_maps_of_any_sizes():
    volume = IntegralVolume()
    for shape in [(3, 4, 6), (13, 17, 6), (5, 2, 3), (13, 17, 6)]:
        activations = levels(shape[0], shape)
        volume.load(activations)
        whole = np.array([[0, 0, *shape[:2]]])
        assert (volume.height, volume.width) == shape[:2]
        np.testing.assert_array_equal(volume.sums(whole)[0], (activations.astype(np.float64) ** 10).sum(axis=(0, 1)))


@pytest.mark.parametrize(
    "activations", [np.zeros((3, 4, 5)), np.zeros((3, 4), np.uint8), np.zeros((0, 4, 5), np.uint8)]
)
def test_what_is_no_quantised_map_is_refused(activations):
    with pytest.raises(ValueError, match=r"`activations` must be uint8 \[height, width, channels\].*Received: dtype="):
        IntegralVolume().load(activations)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"`limit` must be positive. Received: limit=0"):
        quantise_activations(np.zeros(3), limit=0)
    with pytest.raises(ValueError, match=r"`levels` must be between 1 and 255. Received: levels=256"):
        quantise_activations(np.zeros(3), levels=256)
    with pytest.raises(ValueError, match=r"`power` must be at least 1. Received: power=0"):
        IntegralVolume(0)
