"""Maps of what a model looks at, where the right answer is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.extraction.attention.maps import assignment_map, contribution_map, maximal_map, occlusion_map
from keras_sare.layers import MAC, GeM, NetVLAD, SPoC, Whitening
from keras_sare.layers.normalize import l2_normalize
from keras_sare.models.crop_activations import split_at_pooling

CELL = 8


def model_of(pooling):
    """Red and blue of each cell of 8 x 8 pixels, pooled: grey of any shade counts as nothing."""
    images = keras.Input((None, None, 3))
    x = keras.layers.AveragePooling2D(CELL)(images)
    kernel = np.array([[1, 0], [-1, -1], [0, 1]], np.float32)[None, None]
    colours = keras.layers.Conv2D(2, 1, use_bias=False, activation="relu")
    x = colours(x)
    colours.set_weights([kernel / 255])
    return keras.Model(images, pooling(x))


@pytest.fixture
def photo():
    """Grey, with a red object in cells (1..2, 4..5) and a smaller blue one in cell (4, 0)."""
    image = np.full((5 * CELL + 3, 7 * CELL + 5, 3), 127.5, np.float32)
    image[CELL : 3 * CELL, 4 * CELL : 6 * CELL] = (255, 0, 0)
    image[4 * CELL : 5 * CELL, :CELL] = (0, 0, 255)
    return image


RED = np.array([1, 0], np.float32)


def test_box_over_the_object_that_both_photos_show_costs_most(photo):
    model = model_of(SPoC())
    drops = [occlusion_map(model, photo, RED, box=2 * CELL, step=CELL, batch_size=size) for size in (1, 7, 100)]
    assert drops[0].shape == (6, 9)
    assert np.unravel_index(drops[0].argmax(), drops[0].shape) == (2, 5)  # Centred in pixel (16, 40), the object's own.
    for other in drops[1:]:
        np.testing.assert_allclose(other, drops[0], atol=1e-6)
    assert drops[0][0, 0] == pytest.approx(0, abs=1e-6)
    assert drops[0][5, 0] < 0  # Without the blue object the photo is more like a red one.


def test_batches_are_no_larger_than_asked_for(photo):
    sizes = []

    class Recorded(keras.Model):
        def call(self, images):
            sizes.append(images.shape[0])
            return tf.math.l2_normalize(tf.reduce_mean(images, axis=(1, 2)), axis=-1)

    occlusion_map(Recorded(), photo, np.ones(3, np.float32), box=8, step=8, batch_size=5)
    assert max(size for size in sizes if size) == 5


def test_cells_of_the_object_make_up_the_similarity(photo):
    model = model_of(SPoC())
    shares = contribution_map(model, photo, RED)
    assert shares.shape == (5, 7)
    assert set(zip(*np.nonzero(np.abs(shares) > 1e-6), strict=True)) == {(1, 4), (1, 5), (2, 4), (2, 5)}
    assert shares.sum() == pytest.approx(float(np.asarray(model(photo[None]))[0] @ RED))


@pytest.mark.parametrize("pooling", [SPoC, MAC, GeM, lambda: NetVLAD(2), lambda: NetVLAD(2, "vladv2_intra")])
def test_descriptor_comes_from_its_cells_all_of_it(photo, pooling):
    """Also behind a whitening that turns and does not shift."""
    model = model_of(layer := pooling())
    if isinstance(layer, NetVLAD):
        layer.set_clusters(np.array([[0.9, 0.1], [0.2, 0.7]], np.float32), alpha=2.0)
    whitening = Whitening(2)
    whitened = keras.Model(model.input, whitening(model.output))
    whitening.set_projection(np.eye(model.output.shape[-1], 2, dtype=np.float32)[::-1], np.zeros(2, np.float32))
    for one in (model, whitened):
        shares = contribution_map(one, photo, np.asarray(one(photo[None]))[0])
        assert shares.sum() == pytest.approx(1, abs=1e-4)


def test_cells_belong_to_the_cluster_of_their_colour(photo):
    model = model_of(layer := NetVLAD(2))
    layer.set_clusters(np.eye(2, dtype=np.float32), alpha=20.0)
    weights = assignment_map(model, photo)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
    assert weights[1, 4, 0] > 0.99
    assert weights[4, 0, 1] > 0.99


def test_assignments_are_those_that_the_descriptor_is_made_of(photo):
    """NetVLAD written out with the map's weights gives the model's own descriptor."""
    model = model_of(layer := NetVLAD(2))
    centres = np.array([[0.9, 0.1], [0.2, 0.7]], np.float32)
    layer.set_clusters(centres, alpha=2.0)
    weights = assignment_map(model, photo).reshape(-1, 2)
    trunk, _ = split_at_pooling(model)
    x = keras.ops.convert_to_numpy(trunk(photo[None])).reshape(-1, 2)
    x = keras.ops.convert_to_numpy(l2_normalize(x))
    vlad = weights.T @ x - weights.sum(axis=0)[:, None] * centres
    vlad /= np.linalg.norm(vlad, axis=1, keepdims=True)
    np.testing.assert_allclose(model(photo[None])[0], (vlad / np.linalg.norm(vlad)).ravel(), atol=1e-5)


def test_maxima_lie_where_each_colour_is_strongest(photo):
    shares = maximal_map(model_of(MAC()), photo)
    expected = np.zeros((5, 7))
    expected[1, 4] = 0.5
    expected[4, 0] = 0.5
    np.testing.assert_allclose(shares, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda model, image: occlusion_map(model, image, RED, box=0), "`box` must be at least 1"),
        (lambda model, image: maximal_map(model, image), "`model` must pool by MAC"),
        (lambda model, image: assignment_map(model, image), "`model` must pool by NetVLAD"),
    ],
)
def test_wrong_arguments_are_named(photo, make, message):
    with pytest.raises(ValueError, match=message):
        make(model_of(SPoC()), photo)
