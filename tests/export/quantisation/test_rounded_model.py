import keras
import numpy as np
import pytest

from export.quantisation import rounded_model as module
from export.quantisation.rounded_model import rounded_model
from keras_sare.layers import GeM
from keras_sare.models import with_whitening

rng = np.random.default_rng(0)
PHOTOS = [np.kron(rng.integers(0, 256, (2, 8, 8, 3)), np.ones((1, 4, 4, 1))).astype("float32") for _ in range(3)]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="second")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.Conv2D(32, 1, padding="valid", activation="relu", name="third")(x)
    x = GeM(name="gem")(x)
    numbers = np.random.default_rng(0)
    return with_whitening(keras.Model(inputs, x), numbers.normal(size=(32, 8)), numbers.normal(size=8), 8, np.ones(32))


@pytest.fixture(autouse=True)
def sizes_of_a_small_model(monkeypatch):
    monkeypatch.setattr(module, "SMALL", 250)
    monkeypatch.setattr(module, "LARGE", 500)


def layer_of(rounded, model, name):
    """The layer of the rounded model, whose names are others, that was called `name`."""
    return rounded.layers[[layer.name for layer in model.layers].index(name)]


def by_old_names(bits, rounded, model):
    new = [layer.name for layer in rounded.layers]
    return {model.layers[new.index(name)].name: count for name, count in bits.items()}


def smallest_cosine(one, other):
    x = np.concatenate(PHOTOS)
    return float((keras.ops.convert_to_numpy(one(x)) * keras.ops.convert_to_numpy(other(x))).sum(axis=1).min())


def steps(kernel):
    """For each output the largest weight in steps of the smallest difference, and the furthest from a whole number."""
    columns = np.abs(kernel.reshape(-1, kernel.shape[-1])).T
    smallest = np.array([np.diff(np.unique(np.append(np.round(column, 6), 0))).min() for column in columns])
    return (columns.max(axis=1) / smallest).round(), np.abs((columns.T / smallest) % 1 - 0.5).min()


def test_estimate_is_told_before_the_first_layer_is_rounded(model, caplog, monkeypatch):
    told = []
    monkeypatch.setattr(module, "gptq", lambda weights, *_: told.append(caplog.text) or weights)
    monkeypatch.setattr(module, "rounding_seconds", lambda *arguments: 60.0 * arguments[3])
    with caplog.at_level("INFO", "keras_sare.export"):
        rounded_model(model, PHOTOS)
    assert "Rounding 2 layers: about 6 min" in told[0]


def test_convolutions_are_rounded_by_their_size_and_the_model_stays_as_it_is(model):
    before = [weight.copy() for weight in model.get_weights()]
    rounded, bits = rounded_model(model, PHOTOS)
    assert by_old_names(bits, rounded, model) == {"second": 4, "third": 4, "whitening": 8}
    for name in ("first", "depthwise"):
        np.testing.assert_array_equal(layer_of(rounded, model, name).kernel, model.get_layer(name).kernel)
    for name in ("second", "third"):
        largest, off_grid = steps(keras.ops.convert_to_numpy(layer_of(rounded, model, name).kernel))
        assert largest.max() <= 7
        assert off_grid > 0.49
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_descriptors_stay_nearer_than_with_the_nearest_values(model):
    rounded, _ = rounded_model(model, PHOTOS)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    for name in ("second", "third"):
        kernel = keras.ops.convert_to_numpy(model.get_layer(name).kernel)
        flat = module.nearest_on_grid(kernel.reshape(-1, kernel.shape[-1]), 4)
        plain.get_layer(name).kernel.assign(flat.reshape(kernel.shape))
    assert 1 - smallest_cosine(rounded, model) < 0.5 * (1 - smallest_cosine(plain, model))
    assert smallest_cosine(rounded, model) > 0.97


def test_the_mean_of_the_whitening_goes_into_its_bias(model, monkeypatch):
    monkeypatch.setattr(module, "is_convolution", lambda layer: False)
    rounded, bits = rounded_model(model, PHOTOS)
    assert by_old_names(bits, rounded, model) == {"whitening": 8}
    assert [tuple(weight.shape) for weight in rounded.layers[-1].weights] == [(32, 8), (8,)]
    assert smallest_cosine(rounded, model) > 0.9995


def test_names_of_the_copy_are_told_apart_whatever_they_were(model):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, name="a")(inputs)
    odd = keras.Model(inputs, keras.layers.Dense(2, name="a (1) é+x")(keras.layers.Dense(3, name="a_1")(x)))
    copy = module.renamed(odd)
    assert [layer.name for layer in copy.layers[1:]] == ["layer0001x", "layer0002x", "layer0003x"]
    np.testing.assert_array_equal(copy(np.eye(4)), odd(np.eye(4)))
    assert smallest_cosine(module.renamed(model), model) > 0.999999


def test_sampled_positions_are_spread_over_the_photo(model, monkeypatch):
    layer = model.get_layer("second")
    features = keras.Model(model.input, layer.input)(PHOTOS[0][:1])
    every = keras.ops.convert_to_numpy(module.patches_of(features, layer))
    sampled = keras.ops.convert_to_numpy(module.sampled_patches(features, layer))
    np.testing.assert_array_equal(sampled, every)
    monkeypatch.setattr(module, "POSITIONS", 10)
    sampled = keras.ops.convert_to_numpy(module.sampled_patches(features, layer))
    np.testing.assert_array_equal(sampled, every[np.arange(10) * len(every) // 10])


def test_samples_are_what_a_convolution_multiplies_its_kernel_with(model):
    layer = model.get_layer("second")
    features = keras.Model(model.input, layer.input)(PHOTOS[0])
    products = module.patches_of(features, layer) @ keras.ops.reshape(layer.kernel, (-1, 16)) + layer.bias
    np.testing.assert_allclose(keras.ops.relu(products), keras.ops.reshape(layer(features), (-1, 16)), atol=1e-5)


def test_without_photos_there_is_nothing_to_calibrate_with(model):
    with pytest.raises(ValueError, match="`photos` must hold at least one batch to calibrate with. Received: none"):
        rounded_model(model, [])
