"""Maps of what VGG16 looks at in two real photos of one place, against what happens when parts of them go."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw

from keras_sare.datasets import open_dataset
from keras_sare.extraction.attention.maps import assignment_map, contribution_map, maximal_map, occlusion_map
from keras_sare.layers import MAC, NetVLAD
from keras_sare.models import build, initialise_netvlad
from keras_sare.models.crop_activations import split_at_pooling

SIZE = (109, 77)
"""Width and height, no multiples of a cell's 16 pixels nor of the step."""

BOX = 32
STEP = 27
CELL = 16


@pytest.fixture(scope="module")
def photos(real_data):
    """A query of London and its positive nearest in heading, and four others."""
    dataset = open_dataset(real_data / "msls_london", "test")
    positives = dataset.positives(10)
    query = int(np.argmax(positives.counts > 0))
    turned = np.abs(dataset.database.headings[positives[query]] - dataset.queries.headings[query])
    match = positives[query][turned.argmin()]
    files = [dataset.queries.paths[query], dataset.database.paths[match], *dataset.database.paths[:400:100]]
    return [Image.open(file).convert("RGB").resize(SIZE) for file in files]


@pytest.fixture(scope="module")
def models(real_data, photos):
    mac = build("vgg16_mac", real_data / "weights/vgg16_imagenet_torchvision_notop.h5")
    trunk, _ = split_at_pooling(mac)
    netvlad = keras.Model(trunk.input, NetVLAD(8)(trunk.output))
    initialise_netvlad(netvlad, map(array, photos))
    return {"MAC": mac, "NetVLAD": netvlad}


@pytest.fixture(params=["MAC", "NetVLAD"])
def model(models, request):
    return models[request.param]


def array(photo):
    return np.asarray(photo, np.float32)


def described(model, photo):
    return np.asarray(model(array(photo)[None]))[0]


def painted(photo, row, column, colour):
    """A copy with a box painted over, centred in a pixel of the grid."""
    copy = photo.copy()
    box = (column * STEP - BOX // 2, row * STEP - BOX // 2, column * STEP + BOX // 2 - 1, row * STEP + BOX // 2 - 1)
    ImageDraw.Draw(copy).rectangle(box, fill=colour)
    return copy


def test_painting_over_the_brightest_region_costs_most_whatever_the_colour(model, photos):
    query, match = photos[:2]
    target = described(model, match)
    drops = occlusion_map(model, array(query), target, BOX, STEP)
    brightest, darkest = (np.unravel_index(at, drops.shape) for at in (drops.argmax(), drops.argmin()))
    whole = described(model, query) @ target
    for place in (brightest, darkest):
        # A picture's grey is whole, the map's is 127.5.
        lost = whole - described(model, painted(query, *place, (127,) * 3)) @ target
        assert drops[place] == pytest.approx(lost, abs=3e-3)
    colour = tuple(array(query).mean(axis=(0, 1)).astype(int).tolist())
    lost = [whole - described(model, painted(query, *place, colour)) @ target for place in (brightest, darkest)]
    assert lost[0] > lost[1] + 0.01


def test_contributions_add_up_and_the_brightest_cells_carry_the_similarity(model, photos):
    query, match = photos[:2]
    target = described(model, match)
    shares = contribution_map(model, array(query), target)
    assert shares.sum() == pytest.approx(described(model, query) @ target, abs=1e-4)
    assert contribution_map(model, array(query), described(model, query)).sum() == pytest.approx(1, abs=1e-4)

    trunk, head = split_at_pooling(model)
    features = np.asarray(trunk(array(query)[None]))
    cells = features.reshape(-1, features.shape[-1])  # Both poolings are blind to where a cell is.
    order = shares.ravel().argsort()
    count = len(order) // 5
    alone = [head(cells[None, None, kept]) for kept in (order[-count:], order[:count])]
    brightest, darkest = (float(np.asarray(one)[0] @ target) for one in alone)
    assert brightest > darkest + 0.05


def test_cells_belong_to_the_nearest_cluster(models, photos):
    model = models["NetVLAD"]
    weights = assignment_map(model, array(photos[0]))
    features = np.asarray(split_at_pooling(model)[0](array(photos[0])[None]))[0]
    centres = np.asarray(model.layers[-1].centroids)
    cosines = features @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(weights.argmax(axis=-1), cosines.argmax(axis=-1))
    assert len(np.unique(weights.argmax(axis=-1))) > 2
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)


def test_maximal_patch_is_where_the_channels_maxima_come_from(models, photos):
    """The pixels that the channels of the brightest cell depend on lie around it."""
    model = models["MAC"]
    assert isinstance(model.layers[-1], MAC)
    shares = maximal_map(model, array(photos[0]))
    brightest = np.unravel_index(shares.argmax(), shares.shape)
    image = tf.constant(array(photos[0])[None])
    with tf.GradientTape() as tape:
        tape.watch(image)
        features = split_at_pooling(model)[0](image)
        cells = tf.reshape(features, (-1, features.shape[-1]))
        its_own = tf.argmax(cells, axis=0) == int(shares.argmax())
        maximum = tf.reduce_sum(tf.boolean_mask(tf.reduce_max(cells, axis=0), its_own))
    energy = np.square(tape.gradient(maximum, image)[0]).sum(axis=-1)
    centre = [np.average(np.arange(energy.shape[axis]), weights=energy.sum(axis=1 - axis)) for axis in (0, 1)]
    np.testing.assert_allclose(centre, CELL * (np.array(brightest) + 0.5), atol=CELL)
    assert shares.max() > 3 / shares.size
