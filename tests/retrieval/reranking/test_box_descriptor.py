import numpy as np
import pytest

from keras_sare.layers import MAC, RMAC, region_grid
from keras_sare.retrieval.reranking.box_descriptor import BoxDescriptor


def levels(height=30, width=40, channels=16):
    random = np.random.RandomState(0)
    return np.floor(9 * random.random_sample((height, width, channels)) ** 5).astype(np.uint8)


BOXES = np.array([[0, 0, 30, 40], [3, 5, 17, 29], [10, 0, 30, 12], [7, 7, 14, 14], [4, 4, 6, 6], [0, 39, 30, 40]])


def test_rmac_of_a_box_is_that_of_the_layer_on_the_cropped_map():
    activations = levels()

    vectors = BoxDescriptor()(activations, BOXES)

    for vector, (y1, x1, y2, x2) in zip(vectors, BOXES, strict=True):
        crop = activations[None, y1:y2, x1:x2].astype(np.float32)
        np.testing.assert_allclose(vector, RMAC(levels=3)(crop)[0], atol=1e-6)


def test_mac_of_a_box_is_that_of_the_layer_on_the_cropped_map():
    activations = levels()

    vectors = BoxDescriptor(levels=0)(activations, BOXES)

    for vector, (y1, x1, y2, x2) in zip(vectors, BOXES, strict=True):
        np.testing.assert_allclose(vector, MAC()(activations[None, y1:y2, x1:x2].astype(np.float32))[0], atol=1e-6)


def test_regions_are_whitened_before_they_are_summed_as_in_the_layer():
    activations = levels()
    random = np.random.RandomState(1)
    projection = random.standard_normal((16, 16)).astype(np.float32)
    bias = random.standard_normal(16).astype(np.float32)
    layer = RMAC(levels=3, whitening_dim=5)
    layer.build((None, None, None, 16))
    layer.set_projection(projection, bias)

    def whiten(rows):
        whitened = rows @ projection[:, :5] + bias[:5]
        return whitened / np.linalg.norm(whitened, axis=1, keepdims=True)

    vectors = BoxDescriptor(3, whiten)(activations, BOXES[:4])

    assert vectors.shape == (4, 5)
    for vector, (y1, x1, y2, x2) in zip(vectors, BOXES, strict=False):
        np.testing.assert_allclose(vector, layer(activations[None, y1:y2, x1:x2].astype(np.float32))[0], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "regions"),
    [((48, 64), 20), ((30, 40), 20), ((64, 48), 20), ((22, 15), 20), ((32, 32), 14), ((7, 7), 14), ((14, 40), 32)],
)
def test_as_many_regions_are_pooled_as_the_paper_has(shape, regions):
    counted = []

    def whiten(rows):
        counted.append(len(rows))
        return rows

    BoxDescriptor(3, whiten)(levels(*shape), np.array([[0, 0, *shape]]))

    assert counted == [regions] == [len(region_grid(*shape, 3))]


def test_a_box_without_activations_has_a_vector_of_zeros():
    vectors = BoxDescriptor()(np.zeros((5, 5, 3), np.uint8), np.array([[0, 0, 4, 4]]))

    np.testing.assert_array_equal(vectors, np.zeros((1, 3)))


def test_unquantised_maps_are_described_too():
    activations = np.random.RandomState(0).random_sample((9, 9, 4))

    vectors = BoxDescriptor(0)(activations, np.array([[2, 2, 7, 7]]))

    expected = activations[2:7, 2:7].max(axis=(0, 1))
    np.testing.assert_allclose(vectors[0], expected / np.linalg.norm(expected), rtol=1e-6)


def test_negative_levels_are_refused():
    with pytest.raises(ValueError, match=r"`levels` must be at least 1, or 0 for MAC. Received: levels=-1"):
        BoxDescriptor(-1)
