from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sare.layers import NetVLAD
from keras_sare.layers.netvlad import METHODS
from keras_sare.layers.normalize import NORMALIZATIONS


def features(batch=2, height=5, width=4, channels=6, dtype="float32"):
    return np.random.default_rng(0).normal(size=(batch, height, width, channels)).astype(dtype)


def initialised(clusters=3, channels=6, **kwargs):
    layer = NetVLAD(clusters, **kwargs)
    layer.build((None, None, None, channels))
    layer.set_clusters(np.random.default_rng(1).normal(size=(clusters, channels)), alpha=3.0)
    return layer


def unit(x, normalization):
    """The two published rules of normalisation, along the last axis."""
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / (np.maximum(norm, 1e-12) if normalization == "torch" else np.sqrt(1e-12 + norm**2))


def naive_netvlad(maps, assignment, centroids, bias=None, method="vlad_preL2_intra", normalization="matlab"):
    """The definition of the paper, one residual at a time, in float64."""
    rows = []
    for image in maps.astype("float64"):
        vlad = np.zeros(centroids.shape)
        for x in image.reshape(-1, image.shape[-1]):
            if "preL2" in method:
                x = unit(x, normalization)
            scores = x @ assignment + (0 if bias is None else bias)
            scores = np.exp(scores - scores.max())
            for k, centre in enumerate(centroids):
                vlad[k] += scores[k] / scores.sum() * (x - centre)
        if "intra" in method:
            vlad = unit(vlad, normalization)
        rows.append(unit(vlad.ravel(), normalization))
    return np.stack(rows)


def test_published_method_is_the_default():
    assert NetVLAD().method == METHODS[0] == "vlad_preL2_intra"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_equals_the_sum_of_residuals_computed_one_by_one(method):
    layer = initialised(method=method)
    weights = [w.astype("float64") for w in layer.get_weights()]
    assert len(weights) == (3 if method.startswith("vladv2") else 2)
    np.testing.assert_allclose(layer(features()), naive_netvlad(features(), *weights, method=method), atol=1e-6)


def of_a_few_clusters():
    """Maps that look like eight of 64 k-means centres of photographs; the other clusters are left nearly empty."""
    stored = np.load(Path(__file__).parents[1] / "data" / "netvlad_centres.npz")
    centres = stored["64x512"].astype("float32")
    rng = np.random.default_rng(0)
    near = centres[rng.integers(0, 8, (4, 4, 5))]
    maps = near + rng.normal(0, 0.4 / np.sqrt(512), near.shape)
    return maps.astype("float32"), centres, float(stored["alpha_64x512"])


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_clusters_that_maps_leave_nearly_empty_follow_the_rule_of_normalisation(normalization):
    maps, centres, alpha = of_a_few_clusters()
    layer = NetVLAD(64, normalization=normalization)
    layer.build((None, None, None, 512))
    layer.set_clusters(centres, alpha)
    weights = [w.astype("float64") for w in layer.get_weights()]
    expected = naive_netvlad(maps, *weights, normalization=normalization)
    # Sums of products of the whole map make up for residuals of 1e-6 and less: nothing cancels but what is as small.
    np.testing.assert_allclose(layer(maps), expected, rtol=0, atol=5e-6)
    other = naive_netvlad(maps, *weights, normalization={"matlab": "torch", "torch": "matlab"}[normalization])
    assert np.sum(expected * other, axis=1).max() < 0.97


def test_weights_saved_before_there_was_a_choice_mean_the_rule_of_matlab():
    config = NetVLAD(3, normalization="torch").get_config()
    assert NetVLAD.from_config(config).normalization == "torch"
    del config["normalization"]
    assert NetVLAD.from_config(config).normalization == "matlab"


def test_vladv2_assigns_by_squared_distance_to_the_centres():
    """softmax(2 alpha c.x - alpha |c|^2) is softmax(-alpha |x - c|^2), whatever the centres' norms."""
    layer = initialised(method="vladv2", dtype="float64")
    assignment, centroids, bias = layer.get_weights()
    x = features(dtype="float64").reshape(-1, 6)
    scores = np.exp(x @ assignment + bias)
    closeness = np.exp(-3.0 * np.sum((x[:, None] - centroids) ** 2, axis=-1))
    np.testing.assert_allclose(
        scores / scores.sum(1, keepdims=True), closeness / closeness.sum(1, keepdims=True), atol=1e-12
    )


def test_float64_policy_computes_in_float64():
    layer = initialised(dtype="float64")
    expected = naive_netvlad(features(), *layer.get_weights())
    np.testing.assert_allclose(layer(features(dtype="float64")), expected, atol=1e-11)


def test_descriptors_have_norm_one_and_each_cluster_an_equal_share():
    descriptor = keras.ops.convert_to_numpy(initialised()(features()))
    np.testing.assert_allclose(np.linalg.norm(descriptor.reshape(2, 3, 6), axis=-1), 1 / np.sqrt(3), rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_returns_float32_close_to_full_precision(policy):
    layer = initialised(dtype=policy)
    half = keras.ops.cast(features(), policy.removeprefix("mixed_"))
    output = layer(half)
    assert keras.backend.standardize_dtype(output.dtype) == "float32"
    assert layer.compute_output_spec(half).dtype == "float32"
    expected = naive_netvlad(
        keras.ops.convert_to_numpy(keras.ops.cast(half, "float32")), *[w.astype("float64") for w in layer.get_weights()]
    )
    np.testing.assert_allclose(output, expected, atol=1e-6)


def test_tiny_float16_activations_do_not_vanish_in_the_normalisation():
    layer = initialised(dtype="mixed_float16")
    small = layer((features() * 1e-4).astype("float16"))
    np.testing.assert_allclose(np.linalg.norm(small, axis=-1), 1, rtol=1e-4)


def test_no_tensor_holds_the_residuals_of_every_position():
    import tensorflow as tf

    layer = initialised(clusters=5)
    graph = tf.function(layer, autograph=False).get_concrete_function(tf.TensorSpec((2, 7, 9, 6))).graph
    largest = max(
        int(np.prod(t.shape)) for op in graph.get_operations() for t in op.outputs if t.shape.is_fully_defined()
    )
    assert largest < 2 * 63 * 5 * 6


def test_starts_uninitialised_until_clusters_are_set():
    layer = NetVLAD(3)
    assert not layer.is_initialised
    layer.build((None, 4, 4, 6))
    assert not layer.is_initialised
    assert initialised().is_initialised


def test_assignment_is_alpha_times_the_unit_centres():
    layer = initialised()
    assignment, centroids = layer.get_weights()
    np.testing.assert_allclose(
        assignment.T, 3.0 * centroids / np.linalg.norm(centroids, axis=1, keepdims=True), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: NetVLAD(0), "`clusters` must be at least 1.*clusters=0"),
        (lambda: NetVLAD(method="max"), "`method` must be one of vlad_preL2_intra.*layers MAC.*Received: method='max'"),
        (lambda: NetVLAD(normalization="l2"), "`normalization` must be one of matlab, torch.*normalization='l2'"),
        (lambda: NetVLAD(2).build((None, 6)), r"`NetVLAD` expects feature maps .* Received: input_shape=\(None, 6\)"),
        (lambda: initialised().set_clusters(np.ones((2, 6)), 1.0), r"`centroids` must have shape \(3, 6\).*\(2, 6\)"),
        (lambda: initialised().set_clusters(np.ones((3, 6)), 0.0), "`alpha` must be greater than 0"),
        (lambda: NetVLAD(2).set_clusters(np.ones((2, 6)), 1.0), "needs a built layer"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()


@pytest.mark.parametrize(("centroids", "alpha"), [(np.ones((3, 6)), np.inf), (np.full((3, 6), np.nan), 1.0)])
def test_clusters_that_would_make_every_descriptor_nan_are_refused(centroids, alpha):
    layer = NetVLAD(3)
    layer.build((None, 4, 4, 6))
    with pytest.raises(ValueError, match="`alpha` must be greater than 0 and finite, and so must `centroids` be"):
        layer.set_clusters(centroids, alpha)
