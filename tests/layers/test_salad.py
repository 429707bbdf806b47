from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.layers import SALAD


def features(height=4, width=5, channels=6):
    """Maps and a token."""
    random = np.random.RandomState(1)
    maps = random.normal(size=(2, height, width, channels)).astype("float32")
    return [maps, random.normal(size=(2, channels)).astype("float32")]


def with_weights(layer, channels=6):
    """Draws the weights in the order and the shapes of make_aggregators_oracle.py."""
    layer.build((None, None, None, channels))
    random = np.random.RandomState(2)
    layer.set_weights([0.3 * random.normal(size=w.shape[::-1]).T for w in layer.get_weights()])
    return layer


def small(**kwargs):
    return with_weights(SALAD(clusters=4, cluster_dim=5, token_dim=3, **kwargs))


def assignments(layer, scores):
    return np.array(layer.assignments(tf.constant(scores), scores.shape[1]))


def test_with_a_token_it_round_trips_through_a_keras_file_at_any_image_size(tmp_path):
    inputs = [keras.Input((None, None, 6)), keras.Input((7,))]
    layer = SALAD(clusters=4, cluster_dim=5, token_dim=3, hidden=8, dropout=0.1, iterations=2)
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.layers[-1].get_config() == model.layers[-1].get_config()
    for size in ((4, 5), (3, 7)):
        data = [features(*size)[0], np.ones((2, 7), "float32")]
        np.testing.assert_array_equal(reloaded(data), model(data))


def test_defaults_are_those_of_the_paper():
    layer = SALAD()
    layer.build([(None, None, None, 768), (None, 768)])
    outputs = {"token": 256, "descriptor": 128, "score": 64}
    assert layer.count_params() == 1 + sum(769 * 512 + 513 * size for size in outputs.values())
    inputs = [keras.KerasTensor((None, 16, 16, 768)), keras.KerasTensor((None, 768))]
    assert layer.compute_output_spec(inputs).shape == (None, 256 + 64 * 128)


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16", "float64"])
def test_low_precision_computes_in_float32_and_float64_in_float64(policy):
    half = [x.astype("float16") for x in features()]
    expected = "float64" if policy == "float64" else "float32"
    layer = small(dtype=policy)
    output = layer(half)
    assert keras.backend.standardize_dtype(output.dtype) == expected
    assert all(keras.backend.standardize_dtype(w.dtype) == expected for w in layer.weights)
    np.testing.assert_allclose(output, small()([x.astype("float32") for x in half]), atol=1e-6)


@pytest.mark.parametrize("size", [(4, 5), (3, 3)])
def test_equals_the_original(size):
    oracle = np.load(Path(__file__).parents[1] / "data" / "aggregators_oracle.npz")
    np.testing.assert_allclose(small()(features(*size)), oracle[f"salad_{size[0]}x{size[1]}"], atol=1e-6)


def test_without_a_token_the_mean_of_the_map_takes_its_place():
    maps, _ = features()
    np.testing.assert_allclose(small()(maps), small()([maps, maps.mean(axis=(1, 2))]), atol=1e-6)


def test_every_position_has_mass_one_and_with_many_iterations_every_cluster_too():
    layer = small(iterations=50)
    scores = np.random.RandomState(3).normal(size=(2, 20, 4)).astype("float32")
    plan = assignments(layer, scores)
    assert plan.min() > 0
    assert plan.sum(axis=2).max() < 1
    np.testing.assert_allclose(plan.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("positions", [20, 5, 3])
def test_assignments_equal_scaling_rows_and_columns_in_turn(positions):
    layer = small()
    scores = np.random.RandomState(3).normal(size=(1, positions, 4))
    dustbin = np.full((positions, 1), np.array(layer.dustbin))
    plan = np.exp(np.concatenate([scores[0], dustbin], axis=1))
    mass = np.array([1, 1, 1, 1, max(positions - 4, 1)])
    for _ in range(3):
        plan = plan * mass / plan.sum(axis=0)
        plan = plan / plan.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(assignments(layer, scores.astype("float32"))[0], plan[:, :4], atol=1e-6)


def test_huge_scores_do_not_overflow():
    scores = 1e4 * np.random.RandomState(3).normal(size=(2, 20, 4)).astype("float32")
    plan = assignments(small(), scores)
    assert np.isfinite(plan).all()
    assert plan.max() <= 1 + 1e-3


def test_a_graph_of_unknown_sizes_gives_the_same_descriptors():
    layer = small()
    graph = tf.function(
        lambda maps, token: layer([maps, token]),
        input_signature=[tf.TensorSpec((None, None, None, 6)), tf.TensorSpec((None, 6))],
        autograph=False,
    )
    for size in ((4, 5), (3, 2), (1, 2)):
        np.testing.assert_allclose(graph(*features(*size)), layer(features(*size)), atol=1e-6)


def test_dropout_acts_in_training_only():
    layer = small(dropout=0.5)
    assert not np.allclose(layer(features(), training=True), layer(features()), atol=1e-3)
    np.testing.assert_array_equal(small(dropout=0.0)(features(), training=True), layer(features()))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        *(
            (lambda name=name: SALAD(**{name: 0}), f"`{name}` must be at least 1. Received: {name}=0")
            for name in ("clusters", "cluster_dim", "token_dim", "hidden", "iterations")
        ),
        (lambda: SALAD(dropout=1.0), "`dropout` must be at least 0 and less than 1. Received: dropout=1.0"),
        (lambda: SALAD().build((None, 6)), r"`SALAD` expects feature maps .* Received: input_shape=\(None, 6\)"),
        (lambda: SALAD()(features()[:1]), r"`SALAD` expects feature maps, or \[maps, token\]. Received: 1 inputs"),
        (lambda: SALAD()([features()[0]] * 2), r"expects a token .* Received: token shape=\(2, 4, 5, 6\)"),
    ],
)
def test_bad_arguments_are_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()
