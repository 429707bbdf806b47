import keras
import numpy as np
import pytest

from keras_sare.layers import GeM, Whitening
from keras_sare.models import build, freeze_before, split, truncated, with_whitening, without_whitening


def photos():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def model():
    return build("alexnet_mac", weights=None)


@pytest.fixture
def fitted():
    rng = np.random.default_rng(0)
    return lambda channels, dim: (rng.normal(size=(channels, dim)), rng.normal(size=dim))


def residual():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1, name="first")(inputs)
    y = keras.layers.Conv2D(3, 1, name="inside")(keras.layers.Conv2D(3, 1, name="branch")(x))
    return keras.Model(inputs, GeM(name="gem")(keras.layers.Add(name="sum")([x, y])))


def test_trunk_and_head_together_are_the_model():
    model = build("alexnet_netvlad", weights=None, clusters=4)
    trunk, head = split(model, "conv4")
    np.testing.assert_array_equal(head(trunk(photos())), model(photos()))
    assert {w.path for w in head.weights} < {w.path for w in model.weights}
    assert head.layers[1].name == "conv4"


def test_residual_network_is_split_at_the_start_of_a_block():
    model = residual()
    images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
    trunk, head = split(model, "branch")
    np.testing.assert_array_equal(head(trunk(images)), model(images))


def test_split_inside_a_residual_block_is_refused():
    with pytest.raises(ValueError, match="not one inside a residual block. Received: layer_name='inside'"):
        split(residual(), "inside")


def test_split_at_an_unknown_layer_lists_the_layers(model):
    with pytest.raises(ValueError, match=r"`layer_name` must be one of .*conv5.* Received: layer_name='conv6'"):
        split(model, "conv6")


def test_whitening_is_appended_and_saved_with_the_model(model, fitted, tmp_path):
    projection, bias = fitted(256, 16)
    whitened = with_whitening(model, projection, bias, dim=8)
    expected = model(photos()).numpy() @ projection[:, :8] + bias[:8]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(whitened(photos()), expected, atol=1e-5)
    whitened.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(photos()), whitened(photos()))


def test_whitening_follows_a_projection_that_the_model_has_already(fitted, tmp_path):
    model = build("alexnet_mac", weights=None, dim=12)
    once = with_whitening(model, *fitted(12, 8), dim=8)
    twice = with_whitening(once, *fitted(8, 4), dim=4)
    assert [layer.name for layer in twice.layers[-3:]] == ["whitening", "whitening_2", "whitening_3"]
    twice.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(photos()), twice(photos()))


def test_layers_from_the_named_one_on_are_trained(model):
    freeze_before(model, "conv4")
    assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"conv4", "conv5"}
    freeze_before(model, "conv2")
    assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"conv2", "conv3", "conv4", "conv5"}


@pytest.mark.parametrize("reload", [False, True])
def test_fitted_whitening_is_never_trained(model, fitted, tmp_path, reload):
    model = with_whitening(model, *fitted(256, 8), dim=8)
    if reload:
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
    freeze_before(model, "mac")
    freeze_before(model, "conv5")
    assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"conv5"}


def test_end_to_end_projection_is_trained_with_the_layers_before_it():
    model = build("alexnet_mac", weights=None, dim=8)
    freeze_before(model, "conv5")
    assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"conv5", "whitening"}
    assert isinstance(model.layers[-1], Whitening)


@pytest.mark.parametrize("dim", [1, 5, 8])
def test_first_dimensions_of_a_fitted_whitening_are_kept_and_normalised_again(model, fitted, dim, tmp_path):
    projection, bias = fitted(256, 8)
    whole = with_whitening(model, projection, bias, 8, mean=np.random.default_rng(1).normal(size=256))
    first = whole(photos()).numpy()[:, :dim]
    shorter = truncated(whole, dim)
    np.testing.assert_allclose(shorter(photos()), first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6)
    assert shorter.count_params() == whole.count_params() - (8 - dim) * (256 + 1)
    assert (shorter.name, shorter.layers[-1].name) == (whole.name, "whitening")
    shorter.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(photos()), shorter(photos()))


def test_first_dimensions_of_an_end_to_end_projection_are_kept_with_a_warning(caplog):
    whole = build("alexnet_mac", weights=None, dim=8)
    first = whole(photos()).numpy()[:, :3]
    shorter = truncated(whole, 3)
    assert "dimensions of an end-to-end projection have no order: the first 3 are any 3" in caplog.text
    np.testing.assert_allclose(shorter(photos()), first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6)
    assert shorter.layers[-1].trainable_weights


def test_model_that_is_cut_stays_as_it_was(model, fitted):
    whole = with_whitening(model, *fitted(256, 8), dim=8)
    before = whole(photos()).numpy()
    truncated(whole, 3)
    np.testing.assert_array_equal(whole(photos()), before)
    assert whole.layers[-1].dim == 8


def test_descriptors_without_an_order_of_dimensions_are_not_cut(model):
    with pytest.raises(
        ValueError, match="`model` must end in a Whitening.* Received: a model that ends in 'mac', a MAC"
    ):
        truncated(model, 8)


@pytest.mark.parametrize("dim", [0, 9])
def test_dimensions_to_keep_must_be_some_of_those_there(model, fitted, dim):
    whole = with_whitening(model, *fitted(256, 8), dim=8)
    with pytest.raises(ValueError, match=f"`dim` must be between 1 and 8, what the model has. Received: dim={dim}"):
        truncated(whole, dim)


def test_fitted_whitening_comes_off_as_it_went_on(model, fitted):
    whitened = with_whitening(model, *fitted(256, 8), dim=8)
    np.testing.assert_array_equal(without_whitening(whitened)(photos()), model(photos()))
    assert without_whitening(model) is model
    projected = keras.Model(model.input, Whitening(8, end_to_end=True)(model.output))
    assert without_whitening(projected) is projected
