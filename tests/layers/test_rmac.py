import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.layers import MAC, RMAC, region_grid


def feature_maps(height=7, width=10, channels=4):
    return np.abs(np.random.default_rng(0).normal(size=(2, height, width, channels)))


def naive_rmac(maps, regions, projection=None, bias=None):
    """Region after region in float64: maximum, L2, whitening, L2, sum, L2."""
    rows = []
    for image in maps.astype("float64"):
        total = 0
        for y, x, height, width in regions:
            vector = image[y : y + height, x : x + width].max(axis=(0, 1))
            vector = vector / np.linalg.norm(vector)
            if projection is not None:
                vector = vector @ projection + bias
                vector = vector / np.linalg.norm(vector)
            total = total + vector
        rows.append(total / np.linalg.norm(total))
    return np.stack(rows)


def whitened(dim=3, channels=4, **kwargs):
    layer = RMAC(whitening_dim=dim, dtype="float64", **kwargs)
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(1)
    layer.set_projection(rng.normal(size=(channels, channels)), rng.normal(size=channels))
    return layer


@pytest.mark.parametrize(
    ("size", "count"),
    [((48, 64), 20), ((30, 40), 20), ((64, 48), 20), ((22, 15), 20), ((32, 32), 14), ((7, 7), 14), ((14, 40), 32)],
)
def test_known_maps_have_the_published_number_of_regions(size, count):
    assert len(region_grid(*size)) == count


def test_regions_of_a_small_map_lie_where_the_formula_says():
    assert region_grid(4, 6, levels=2) == [
        (0, 0, 4, 4),
        (0, 2, 4, 4),
        *[(y, x, 2, 2) for y in (0, 2) for x in (0, 2, 4)],
    ]


def test_regions_lie_inside_the_map_and_reach_its_edges():
    for size in [(h, w) for h in range(1, 30) for w in range(1, 30)]:
        grid = np.array(region_grid(*size))
        starts = grid[:, :2]
        ends = grid[:, :2] + grid[:, 2:]
        assert (starts >= 0).all()
        assert (grid[:, 2:] > 0).all()
        np.testing.assert_array_equal(ends.max(axis=0), size)


def test_turned_map_has_turned_regions():
    turned = {(x, y, width, height) for y, x, height, width in region_grid(13, 31)}
    assert turned == set(region_grid(31, 13))


@pytest.mark.parametrize("size", [(7, 10), (11, 6), (5, 5), (1, 4), (13, 31), (30, 40)])
@pytest.mark.parametrize("sign", [1, -1])
def test_equals_the_sum_of_region_maxima_computed_one_by_one(size, sign):
    maps = sign * feature_maps(*size)
    expected = naive_rmac(maps, region_grid(*size))
    np.testing.assert_allclose(RMAC(dtype="float64")(maps), expected, atol=1e-11)


@pytest.mark.parametrize("compiled", [False, True])
def test_graph_for_unknown_sizes_equals_the_sum_of_region_maxima(compiled):
    layer = RMAC(dtype="float64")
    signature = [tf.TensorSpec((None, None, None, 4), tf.float64)]
    graph = tf.function(layer, signature, autograph=False, jit_compile=compiled)
    for size in [(13, 31), (31, 13), (5, 5), (1, 4)][: 2 if compiled else 4]:
        maps = -feature_maps(*size)
        np.testing.assert_allclose(graph(maps), naive_rmac(maps, region_grid(*size)), atol=1e-11)


@pytest.mark.parametrize("shape", [(2, 7, 10, 4), (None, None, None, 4)])
def test_gradient_equals_that_of_region_maxima_computed_one_by_one(shape):
    layer = RMAC(dtype="float64")
    weights = np.random.default_rng(3).normal(size=4)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float64)], autograph=False)
    def gradient(maps):
        return tf.gradients(tf.reduce_sum(layer(maps) * weights), maps)[0]

    maps = tf.constant(feature_maps())
    with tf.GradientTape() as tape:
        tape.watch(maps)
        regions = [tf.reduce_max(maps[:, y : y + h, x : x + w], (1, 2)) for y, x, h, w in region_grid(7, 10)]
        total = tf.add_n([region / tf.norm(region, axis=1, keepdims=True) for region in regions])
        loss = tf.reduce_sum(total / tf.norm(total, axis=1, keepdims=True) * weights)
    expected = tape.gradient(loss, maps)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(gradient(maps), expected, atol=1e-11)


def test_whole_map_can_count_as_a_region():
    expected = naive_rmac(feature_maps(), [*region_grid(7, 10, levels=2), (0, 0, 7, 10)])
    layer = RMAC(levels=2, include_global=True, dtype="float64")
    np.testing.assert_allclose(layer(feature_maps()), expected, atol=1e-11)


def test_one_level_of_a_square_map_is_mac():
    maps = feature_maps(6, 6)
    np.testing.assert_allclose(RMAC(levels=1)(maps), MAC()(maps), atol=1e-11)


def test_whitening_is_applied_to_every_region_before_the_sum():
    layer = whitened()
    projection, bias, _ = layer.get_weights()
    expected = naive_rmac(feature_maps(), region_grid(7, 10), projection, bias)
    np.testing.assert_allclose(layer(feature_maps()), expected, atol=1e-11)


def test_region_vectors_are_unit_maxima_in_the_order_of_the_grid():
    vectors = keras.ops.convert_to_numpy(RMAC(include_global=True).region_vectors(feature_maps()))
    assert vectors.shape == (2, len(region_grid(7, 10)) + 1, 4)
    for r, region in enumerate([*region_grid(7, 10), (0, 0, 7, 10)]):
        np.testing.assert_allclose(vectors[:, r], naive_rmac(feature_maps(), [region]), atol=1e-11)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: RMAC(levels=0), "`levels` must be at least 1. Received: levels=0"),
        (lambda: RMAC(whitening_dim=0), "`dim` must be at least 1. Received: dim=0"),
        (lambda: whitened(dim=5), "at least dim=5 channels"),
        (lambda: RMAC().set_projection(np.eye(4), np.zeros(4)), "needs a layer with a `whitening_dim`"),
        (lambda: RMAC(whitening_dim=2).set_projection(np.eye(4), np.zeros(4)), "needs a built layer"),
        (lambda: whitened().set_projection(np.eye(3), np.zeros(3)), r"`projection` must be \[4, 3 or more\]"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()
