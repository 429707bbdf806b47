import builtins
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sare.layers.dinov2 import DINOv2, resize_positions
from keras_sare.models import BACKBONES, POOLINGS, build

ORACLE = Path(__file__).parents[2] / "data" / "torchvision_oracle.npz"

SMALL = {"blocks": 2, "channels": 24, "heads": 2}


def photos(height=60, width=45):
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def small_network(images):
    return keras.Model(keras.utils.get_source_inputs(images)[0], DINOv2(**SMALL, name="dinov2")(images))


@pytest.fixture
def small(monkeypatch):
    """Every preset of DINOv2 with two blocks instead of twelve."""
    monkeypatch.setitem(BACKBONES, "dinov2", replace(BACKBONES["dinov2"], network=small_network))


def test_missing_package_is_answered_with_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without(name, *args):
        if name.startswith("keras_hub"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'keras-sare\[dinov2\]'"):
        build("dinov2_salad", weights=None)


@pytest.mark.parametrize("size", [(4, 6), (16, 16), (40, 37)])
def test_position_embeddings_are_resized_as_dinov2s_code_does(size):
    grid = np.random.RandomState(2).rand(1, 2, 37, 37).astype("float32")[0].transpose(1, 2, 0)
    with np.load(ORACLE) as stored:
        np.testing.assert_allclose(resize_positions(grid, *size), stored["positions_{}_{}".format(*size)], atol=1e-5)


def test_position_embeddings_of_the_right_size_are_kept():
    grid = np.random.RandomState(2).rand(37, 37, 2).astype("float32")
    np.testing.assert_array_equal(resize_positions(grid, 37, 37), grid)


@pytest.mark.backends
@pytest.mark.parametrize("pooling", POOLINGS)
def test_preset_runs_at_two_sizes_and_round_trips_through_a_keras_file(small, pooling, tmp_path):
    model = build(f"dinov2_{pooling}", weights=None, options={"clusters": 4} if pooling == "salad" else None)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    for size in ((60, 45), (70, 98)):
        descriptors = model(photos(*size)).numpy()
        np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(reloaded(photos(*size)), descriptors)


@pytest.mark.backends
def test_maps_have_a_position_for_every_whole_patch():
    maps, token = DINOv2(**SMALL)(photos(60, 45).astype("float32"))
    assert (maps.shape, token.shape) == ((2, 4, 3, 24), (2, 24))


@pytest.mark.backends
def test_what_is_left_of_the_last_patch_makes_no_difference():
    layer = DINOv2(**SMALL)
    images = photos(60, 45).astype("float32")
    for whole, cropped in zip(layer(images), layer(images[:, :56, :42]), strict=True):
        np.testing.assert_array_equal(whole, cropped)


@pytest.mark.backends
def test_image_of_the_size_of_the_position_embeddings_gives_what_keras_hubs_model_gives():
    layer = DINOv2(**SMALL)
    images = np.random.default_rng(0).random((1, 518, 518, 3), "float32")
    maps, token = layer(images)
    expected = layer.transformer({"images": images}).numpy()
    np.testing.assert_allclose(maps.numpy().reshape(1, 37 * 37, 24), expected[:, 1:], atol=1e-5)
    np.testing.assert_allclose(token, expected[:, 0], atol=1e-5)


@pytest.mark.backends
def test_image_of_another_size_gives_what_keras_hubs_model_gives_with_resized_position_embeddings():
    import keras_hub

    layer = DINOv2(**SMALL)
    images = np.random.default_rng(0).random((1, 224, 224, 3), "float32")
    maps, token = layer(images)
    ours = layer.transformer
    theirs = keras_hub.models.DINOV2Backbone.from_config({**ours.get_config(), "image_shape": (224, 224, 3)})
    for target, source in zip(theirs.weights, ours.weights, strict=True):
        if target.shape == source.shape:
            target.assign(source)
    positions = ours.embeddings.interpolated_position_embeddings.numpy()[0]
    resized = resize_positions(positions[1:].reshape(37, 37, 24), 16, 16).numpy().reshape(256, 24)
    theirs.embeddings.interpolated_position_embeddings.assign(np.concatenate([positions[:1], resized])[None])
    expected = theirs({"images": images}).numpy()
    np.testing.assert_allclose(maps.numpy().reshape(1, 256, 24), expected[:, 1:], atol=1e-5)
    np.testing.assert_allclose(token, expected[:, 0], atol=1e-5)


@pytest.mark.backends
def test_trained_position_embeddings_are_saved(small, tmp_path):
    model = build("dinov2_gem", weights=None)
    positions = model.get_layer("dinov2").transformer.embeddings.interpolated_position_embeddings
    assert any(positions is weight for weight in model.trainable_weights)
    positions.assign_sub(keras.ops.ones_like(positions))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(photos()), model(photos()))


@pytest.mark.backends
def test_gradient_reaches_every_weight_that_can_be_trained(small):
    import tensorflow as tf

    model = build("dinov2_salad", weights=None, options={"clusters": 4})
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(photos())[:, ::3])
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    without = {
        weight.path.split("/")[-1] for weight, g in zip(model.trainable_weights, gradients, strict=True) if g is None
    }
    assert without <= {"mask_token"}  # Which only DINOv2's own training uses.


@pytest.mark.backends
def test_salad_gets_the_class_token(small):
    model = build("dinov2_salad", weights=None, options={"clusters": 4})
    assert [tuple(part.shape) for part in model.get_layer("salad").input] == [(None, None, None, 24), (None, 24)]


@pytest.mark.backends
def test_pretrained_weights_come_from_keras_hub(small, monkeypatch):
    import keras_hub

    published = DINOv2(**SMALL)
    published(photos().astype("float32"))
    asked = []

    def from_preset(name, **settings):
        asked.append((name, settings))
        return published.transformer

    monkeypatch.setattr(keras_hub.models.DINOV2Backbone, "from_preset", from_preset)
    model = build("dinov2_mac")
    assert asked == [("dinov2_base", {"image_shape": (518, 518, 3)})]
    for received, expected in zip(model.get_layer("dinov2").get_weights(), published.get_weights(), strict=True):
        np.testing.assert_array_equal(received, expected)
