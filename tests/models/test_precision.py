import keras
import numpy as np
import pytest

from keras_sare.layers import GeM, ImagePreprocessing, MixVPR, NetVLAD, Whitening
from keras_sare.models import set_precision, split
from keras_sare.utils.keras_internals import all_layers

MIXED = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}


@pytest.fixture
def model():
    inputs = keras.Input((12, 16, 3), name="images")
    x = ImagePreprocessing((120.0,) * 3, (60.0,) * 3, name="preprocessing")(inputs)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="conv1")(x)
    inner = keras.Sequential([keras.layers.BatchNormalization(name="norm"), keras.layers.ReLU()], name="inner")
    x = keras.layers.Conv2D(8, 3, name="conv2")(inner(x))
    x = GeM(name="gem")(x)
    return keras.Model(inputs, Whitening(4, end_to_end=True, name="whitening")(x))


def photos():
    return np.random.default_rng(0).integers(0, 255, (3, 12, 16, 3)).astype("float32")


def numbers(model):
    return keras.ops.convert_to_numpy(model(photos()))


@pytest.mark.parametrize("precision", MIXED)
def test_network_computes_in_half_precision_with_float32_weights(model, precision):
    exact = numbers(model)
    set_precision(model, precision)
    maps = keras.Model(model.input, model.get_layer("conv2").output)(photos())
    assert keras.backend.standardize_dtype(maps.dtype) == MIXED[precision]
    assert {v.dtype for v in model.weights} == {"float32"}
    rounded = numbers(model)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.05


@pytest.mark.parametrize("precision", MIXED)
def test_float32_again_gives_the_same_numbers_and_the_same_file(model, tmp_path, precision):
    exact = numbers(model)
    config = model.to_json()
    set_precision(model, precision)
    set_precision(model, "float32")
    np.testing.assert_array_equal(numbers(model), exact)
    assert model.to_json() == config
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert {layer.dtype_policy.name for layer in loaded.layers} == {"float32"}
    np.testing.assert_array_equal(numbers(loaded), exact)


def test_parts_of_a_split_model_are_set_with_it(model):
    exact = numbers(model)
    set_precision(model, "mixed_bfloat16")
    trunk, head = split(model, "conv2")
    maps = trunk(photos())
    assert keras.backend.standardize_dtype(maps.dtype) == "bfloat16"
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(head(maps)), numbers(model))
    set_precision(model, "float32")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(head(trunk(photos()))), exact)


@pytest.mark.parametrize(
    "pooling", [NetVLAD(3), MixVPR((4, 5), depth=1), GeM()], ids=lambda layer: type(layer).__name__
)
def test_poolings_and_the_layers_inside_of_them_stay_float32(pooling):
    inputs = keras.Input((4, 5, 6))
    model = keras.Model(inputs, pooling(keras.layers.Conv2D(6, 1, name="conv")(inputs)))
    set_precision(model, "mixed_float16")
    assert model.get_layer("conv").compute_dtype == "float16"
    assert {layer.compute_dtype for layer in all_layers(pooling)} == {"float32"}
    assert keras.backend.standardize_dtype(model(np.ones((1, 4, 5, 6), "float32")).dtype) == "float32"


def test_layers_inside_of_layers_are_set(model):
    set_precision(model, "mixed_bfloat16")
    assert {layer.compute_dtype for layer in model.get_layer("inner").layers} == {"bfloat16"}
    set_precision(model, "float32")
    assert {layer.compute_dtype for layer in model.get_layer("inner").layers} == {"float32"}


def test_unknown_precision_is_refused(model):
    with pytest.raises(ValueError, match="`precision` must be one of float32, .* Received: precision='float16'"):
        set_precision(model, "float16")


def test_weights_of_another_dtype_are_refused_before_anything_is_set():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float16", name="half")(x))
    with pytest.raises(ValueError, match="`model` must have float32 weights.* Received: layer 'half' .*'float16'"):
        set_precision(model, "mixed_float16")
    assert model.get_layer("first").compute_dtype == "float32"
