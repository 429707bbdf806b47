import math

import numpy as np

from keras_sare.layers import CroW


def feature_maps():
    """After a ReLU, with a channel that is zero everywhere in the first image and a position that is zero."""
    maps = np.maximum(np.random.default_rng(0).normal(size=(2, 4, 5, 6)), 0)
    maps[0, :, :, 2] = 0
    maps[1, 3, 4] = 0
    return maps


def naive_crow(image):
    """The weights of the paper, one position and one channel at a time."""
    height, width, channels = image.shape
    total = [[sum(image[y, x]) for x in range(width)] for y in range(height)]
    norm = math.sqrt(sum(value**2 for row in total for value in row))
    share = [np.count_nonzero(image[:, :, c]) / (height * width) for c in range(channels)]
    descriptor = np.zeros(channels)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                descriptor[c] += math.sqrt(total[y][x] / norm) * image[y, x, c]
        descriptor[c] *= math.log(sum(share) / share[c]) if share[c] else 0
    return descriptor / np.linalg.norm(descriptor)


def test_equals_the_sum_weighted_by_position_and_channel():
    expected = [naive_crow(image) for image in feature_maps()]
    np.testing.assert_allclose(CroW(dtype="float64")(feature_maps()), expected, atol=1e-10)


def test_channel_that_is_zero_everywhere_counts_for_nothing():
    assert CroW()(feature_maps().astype("float32"))[0, 2] == 0


def test_rare_channel_outweighs_a_common_one_of_the_same_sum():
    maps = np.zeros((1, 2, 2, 2), "float32")
    maps[0, 0, 0, 0] = 4
    maps[0, :, :, 1] = 1
    rare, common = CroW()(maps)[0]
    assert rare > common


def test_negative_activations_count_as_zero():
    signed = np.random.default_rng(1).normal(size=(2, 4, 5, 6)).astype("float32")
    np.testing.assert_array_equal(CroW()(signed), CroW()(np.maximum(signed, 0)))
