"""What every pooling promises, whatever it computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.layers import MAC, RMAC, SALAD, ConvAP, CroW, GeM, MixVPR, NetVLAD, SPoC

CHANNELS = 6
POOLINGS = {
    "MAC": MAC,
    "SPoC": SPoC,
    "GeM": GeM,
    "GeM per channel": lambda **kwargs: GeM(per_channel=True, **kwargs),
    "RMAC": RMAC,
    "RMAC whitened": lambda **kwargs: whitened_rmac(**kwargs),
    "CroW": CroW,
    "NetVLAD": lambda **kwargs: NetVLAD(3, **kwargs),
    "NetVLAD as in PyTorch": lambda **kwargs: NetVLAD(3, normalization="torch", **kwargs),
    "NetVLAD v2": lambda **kwargs: NetVLAD(3, "vladv2", **kwargs),
    "MixVPR": lambda **kwargs: MixVPR(tokens=(4, 5), depth=2, channels=7, rows=3, mlp_ratio=1.5, **kwargs),
    "ConvAP": lambda **kwargs: ConvAP(4, s1=3, **kwargs),
    "SALAD": lambda **kwargs: SALAD(4, cluster_dim=5, token_dim=3, hidden=8, dropout=0.1, iterations=2, **kwargs),
}


def whitened_rmac(**kwargs):
    layer = RMAC(whitening_dim=4, include_global=True, **kwargs)
    layer.build((None, None, None, CHANNELS))
    rng = np.random.default_rng(2)
    layer.set_projection(rng.normal(size=(CHANNELS, 4)), rng.normal(size=4))
    return layer


@pytest.fixture(params=POOLINGS)
def pooling(request):
    return POOLINGS[request.param]


def maps(batch=2, height=6, width=9):
    values = np.random.default_rng(0).normal(size=(batch, height, width, CHANNELS))
    return np.maximum(values, 0).astype("float32")


def model_of(layer):
    inputs = keras.Input((None, None, CHANNELS))
    return keras.Model(inputs, layer(inputs))


def test_descriptors_of_any_map_size_have_norm_one(pooling):
    layer = pooling()
    for size in ((6, 9), (9, 4), (5, 5), (1, 3), (1, 1)):
        descriptors = layer(maps(2, *size))
        assert tuple(descriptors.shape) == (2, layer.compute_output_spec(keras.Input((*size, CHANNELS))).shape[1])
        np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5, err_msg=str(size))


def test_model_round_trips_through_a_keras_file_with_its_settings_and_weights(pooling, tmp_path):
    model = model_of(pooling(name="pooling"))
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.get_layer("pooling").get_config() == model.get_layer("pooling").get_config()
    for size in ((6, 9), (7, 3)):
        np.testing.assert_array_equal(reloaded(maps(2, *size)), model(maps(2, *size)))


def test_graph_for_unknown_sizes_equals_eager_computation(pooling):
    layer = pooling()
    if not layer.built:
        layer.build((None, None, None, CHANNELS))
    graph = tf.function(layer, [tf.TensorSpec((None, None, None, CHANNELS))], autograph=False)
    for size in ((6, 9), (8, 3), (1, 4), (1, 1)):
        np.testing.assert_allclose(graph(maps(2, *size)), layer(maps(2, *size)), atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_maps_are_pooled_in_float32(pooling, policy):
    half = keras.ops.cast(maps(), policy.removeprefix("mixed_"))
    layer = pooling(dtype=policy)
    output = layer(half)
    assert keras.backend.standardize_dtype(output.dtype) == layer.compute_output_spec(half).dtype == "float32"
    np.testing.assert_allclose(output, layer(keras.ops.cast(half, "float32")), atol=1e-6)


def test_one_step_of_training_changes_the_layers_before(pooling):
    inputs = keras.Input((6, 9, 3))
    convolution = keras.layers.Conv2D(CHANNELS, 3, activation="relu", bias_initializer="ones")
    model = keras.Model(inputs, pooling()(convolution(inputs)))
    before = convolution.get_weights()[0]
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(maps()[..., :3], np.ones((2, model.output.shape[-1])), verbose=0)
    assert not np.array_equal(convolution.get_weights()[0], before)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients_are_finite(pooling, dtype):
    """Of maps of zeros, of usual ones and of small ones, in one batch: a sum of gradients hides none that is not."""
    layer = pooling()
    x = tf.cast(np.concatenate([scale * maps() for scale in (0, 1, 1e-4)]), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x)[:, 0])
    gradients = tape.gradient(loss, [x, *layer.trainable_variables], unconnected_gradients="zero")
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", ["MixVPR", "ConvAP", "SALAD"])
def test_every_weight_of_an_aggregator_is_trained(name):
    layer = POOLINGS[name]()
    with tf.GradientTape() as tape:
        descriptors = layer(maps())
        loss = tf.reduce_sum(descriptors * np.arange(descriptors.shape[1], dtype="float32"))
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert len(gradients) == len(layer.weights)
    assert all(np.isfinite(gradient).all() and np.any(gradient) for gradient in gradients)


@pytest.mark.parametrize("shape", [(2, CHANNELS), (None, 4, 4, None)])
def test_input_that_is_no_feature_map_is_refused(pooling, shape):
    with pytest.raises(ValueError, match=r"expects feature maps .* Received: input_shape="):
        pooling().build(shape)


@pytest.mark.parametrize("layer", [MAC, SPoC, GeM, RMAC])
def test_global_pooling_without_normalisation_gives_the_same_direction(layer):
    raw = layer(normalize=False)(5 * maps())
    unit = layer()(5 * maps())
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert norms.min() > 2
    np.testing.assert_allclose(raw / norms, unit, rtol=1e-5)


def test_float64_policy_computes_in_float64_whatever_comes_in(pooling):
    layer = pooling(dtype="float64")
    assert layer(maps()).dtype == "float64"
    assert {weight.dtype for weight in layer.weights} <= {"float64"}
    assert layer.compute_output_spec(keras.Input((6, 9, CHANNELS))).dtype == "float64"


def test_weights_of_a_half_precision_policy_are_float32(pooling):
    layer = pooling(dtype="float16")
    assert layer(maps().astype("float16")).dtype == "float32"
    assert {weight.dtype for weight in layer.weights} <= {"float32"}
