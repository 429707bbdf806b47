import keras
import numpy as np
import pytest

from keras_sare.layers import NetVLAD
from keras_sare.models import PRESETS, build, split, with_whitening
from keras_sare.models.weight_files import write_npz


def photos(height=48, width=64, batch=2):
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_preset_gives_descriptors_of_norm_one_at_any_image_size(preset):
    model = build(preset.name, weights=None)
    assert model.count_params() == preset.parameters
    for size in ((48, 64), (80, 32)):
        descriptors = model(photos(*size)).numpy()
        assert descriptors.dtype == np.float32
        assert descriptors.shape == (2, model.output.shape[-1])
        np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_round_trips_through_a_keras_file(name, tmp_path):
    model = build(name, weights=None)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(reloaded(photos()), model(photos()))


def test_integer_and_floating_images_give_the_same_descriptors():
    model = build("vgg16_mac", weights=None)
    np.testing.assert_array_equal(model(photos()), model(photos().astype("float32")))


def test_netvlad_pools_before_the_last_relu_and_mac_after_it():
    netvlad, mac = (build(name, weights=None).get_layer("conv5_3") for name in ("vgg16_netvlad", "vgg16_mac"))
    assert netvlad.activation is keras.activations.linear
    assert mac.activation is keras.activations.relu


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ("caffe", [30 - 103.939, 20 - 116.779, 10 - 123.68]),
        ("torch", [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225]),
    ],
)
def test_model_prepares_rgb_as_the_weights_want_it(preprocessing, expected):
    layer = build("vgg16_mac", weights=None, preprocessing=preprocessing).get_layer("preprocessing")
    pixel = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(layer(pixel)[0, 0, 0], expected, rtol=1e-5)


def test_mixed_precision_model_returns_float32_descriptors():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("vgg16_netvlad", weights=None)
    finally:
        keras.config.set_dtype_policy("float32")
    descriptors = model(photos())
    assert keras.backend.standardize_dtype(descriptors.dtype) == "float32"
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)


def test_convolutions_of_a_file_arrive_in_the_layers_in_order(tmp_path):
    source = build("vgg16_mac", weights=None)
    convolutions = [layer.get_weights() for layer in source.layers if "conv" in layer.name]
    write_npz(tmp_path / "vgg16.npz", [tuple(pair) for pair in convolutions])
    model = build("vgg16_mac", weights=tmp_path / "vgg16.npz", preprocessing="caffe")
    np.testing.assert_array_equal(model(photos()), source(photos()))


def test_weights_saved_from_a_model_are_loaded_into_the_same_preset(tmp_path):
    source = build("vgg16_netvlad", weights=None, clusters=4)
    source.save_weights(tmp_path / "trained.weights.h5")
    model = build("vgg16_netvlad", weights=tmp_path / "trained.weights.h5", clusters=4)
    np.testing.assert_array_equal(model(photos()), source(photos()))


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras's own, on its way to the error
def test_weights_saved_with_another_number_of_clusters_are_refused(tmp_path):
    build("vgg16_netvlad", weights=None, clusters=4).save_weights(tmp_path / "trained.weights.h5")
    with pytest.raises(
        ValueError, match="`weights` must be a file that `save_weights` wrote from the preset 'vgg16_netvlad'"
    ):
        build("vgg16_netvlad", weights=tmp_path / "trained.weights.h5", clusters=5)


def test_unknown_preset_is_answered_with_all_names_and_the_nearest():
    with pytest.raises(
        ValueError, match="vgg16_mac, vgg16_netvlad. Did you mean 'vgg16_netvlad'.*name='vgg16_netvald'"
    ):
        build("vgg16_netvald")


def test_unknown_preprocessing_is_refused():
    with pytest.raises(ValueError, match="`preprocessing` must be one of caffe, torch"):
        build("vgg16_mac", weights=None, preprocessing="tf")


def test_trunk_and_head_together_are_the_model():
    model = build("vgg16_netvlad", weights=None)
    trunk, head = split(model, "conv5_1")
    np.testing.assert_array_equal(head(trunk(photos())), model(photos()))
    assert {w.path for w in head.weights} < {w.path for w in model.weights}
    assert head.layers[1].name == "conv5_1"


def test_split_at_an_unknown_layer_lists_the_layers():
    with pytest.raises(ValueError, match=r"`layer_name` must be one of .*conv5_1.* Received: layer_name='conv6_1'"):
        split(build("vgg16_mac", weights=None), "conv6_1")


def test_whitening_is_appended_and_saved_with_the_model(tmp_path):
    rng = np.random.default_rng(0)
    model = build("vgg16_mac", weights=None)
    projection, bias = rng.normal(size=(512, 16)), rng.normal(size=16)
    whitened = with_whitening(model, projection, bias, dim=8)
    expected = model(photos()).numpy() @ projection[:, :8] + bias[:8]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(whitened(photos()), expected, atol=1e-5)
    whitened.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(photos()), whitened(photos()))


def test_number_of_clusters_is_the_callers():
    model = build("vgg16_netvlad", weights=None, clusters=8)
    assert next(layer for layer in model.layers if isinstance(layer, NetVLAD)).clusters == 8
    assert model.output.shape == (None, 8 * 512)
