import functools
import importlib
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_sare.layers import NetVLAD
from keras_sare.models import BACKBONES, POOLINGS, PREPROCESSING, assemble, build
from keras_sare.models.backbones.vgg16 import write_npz
from keras_sare.models.importers.imported import ImportedWeights

BACKBONES_HERE = [name for name in BACKBONES if name != "dinov2"]  # which is tested where keras-hub is
SMALL = {"mixvpr": {"tokens": (4, 4), "channels": 32}, "salad": {"clusters": 8}, "netvlad": {"clusters": 8}}
ALL_PAIRS = [(backbone, pooling) for backbone in BACKBONES_HERE for pooling in POOLINGS]
# Every pooling and most kinds of networks. The others take minutes: `pytest -m slow tests/models/test_build.py`.
# ConvNeXt runs in test_least_side.py and test_imagenet.py, EfficientNet's other kind here.
LONG = {"resnet101", "convnext_tiny", "efficientnet_v2_b0"}
QUICK_PAIRS = {
    *(("alexnet", pooling) for pooling in POOLINGS),
    *((backbone, "gem") for backbone in BACKBONES_HERE if backbone not in LONG),
    ("vgg16", "netvlad"),
}


@functools.cache
def built(name):
    """A model that tests look at and leave as it is."""
    return build(name, weights=None)


def photos(height=48, width=64, batch=2):
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("backbone", "pooling"),
    [pair if pair in QUICK_PAIRS else pytest.param(*pair, marks=pytest.mark.slow) for pair in ALL_PAIRS],
)
def test_preset_runs_at_two_sizes_and_round_trips_through_a_keras_file(backbone, pooling, tmp_path):
    model = build(f"{backbone}_{pooling}", weights=None, options=SMALL.get(pooling))
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    for size in ((64, 64), (96, 64)):
        descriptors = model(photos(*size, batch=1)).numpy()
        assert descriptors.dtype == np.float32
        assert descriptors.shape == (1, model.output.shape[-1])
        assert np.isfinite(descriptors).all()
        assert descriptors.any()
        np.testing.assert_array_equal(reloaded(photos(*size, batch=1)), descriptors)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_descriptors_have_norm_one_at_any_image_size(pooling):
    model = build(f"alexnet_{pooling}", weights=None, options=SMALL.get(pooling), dim=16)
    for size in ((64, 96), (130, 70)):
        np.testing.assert_allclose(np.linalg.norm(model(photos(*size)), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "dim"),
    [("vgg16_netvlad", 32768), ("vgg16_mac", 512), ("alexnet_mixvpr", 1024), ("alexnet_salad", 256 + 64 * 128)],
)
def test_descriptor_has_the_published_size(name, dim):
    assert built(name).output.shape == (None, dim)


def test_layers_are_named_as_in_the_papers_and_the_pooling_after_its_key():
    names = [layer.name for layer in build("vgg16_gem", weights=None, dim=16).layers]
    assert names[:3] == ["images", "preprocessing", "conv1_1"]
    assert names[-3:] == ["conv5_3", "gem", "whitening"]


def test_integer_and_floating_images_give_the_same_descriptors():
    model = built("vgg16_mac")
    np.testing.assert_array_equal(model(photos()), model(photos().astype("float32")))


def test_netvlad_pools_before_the_last_relu_and_mac_after_it():
    netvlad, mac = (built(name).get_layer("conv5_3") for name in ("vgg16_netvlad", "vgg16_mac"))
    assert netvlad.activation is keras.activations.linear
    assert mac.activation is keras.activations.relu


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ("caffe", [30 - 103.939, 20 - 116.779, 10 - 123.68]),
        ("torch", [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225]),
        ("tensorflow", [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1]),
    ],
)
def test_model_prepares_rgb_as_the_weights_want_it(preprocessing, expected):
    layer = build("alexnet_mac", weights=None, preprocessing=preprocessing).get_layer("preprocessing")
    pixel = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(layer(pixel)[0, 0, 0], expected, rtol=1e-5)


def test_model_without_weights_prepares_images_as_those_of_keras_applications_want_them():
    for name, preprocessing in {"vgg16_mac": "caffe", "alexnet_mac": "torch"}.items():
        assert built(name).get_layer("preprocessing").mean == PREPROCESSING[preprocessing]["mean"]


def test_mixed_precision_model_returns_float32_descriptors():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("alexnet_netvlad", weights=None)
    finally:
        keras.config.set_dtype_policy("float32")
    descriptors = model(photos())
    assert keras.backend.standardize_dtype(descriptors.dtype) == "float32"
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)


def test_number_of_clusters_is_the_callers():
    model = build("alexnet_netvlad", weights=None, clusters=8)
    assert next(layer for layer in model.layers if isinstance(layer, NetVLAD)).clusters == 8
    assert model.output.shape == (None, 8 * 256)


def test_options_go_to_the_pooling_and_leave_the_other_defaults_of_the_preset():
    assert build("alexnet_gem", weights=None, options={"p": 4.5}).get_layer("gem").p == 4.5
    layer = build("alexnet_mixvpr", weights=None, options={"rows": 2}).get_layer("mixvpr")
    assert (layer.rows, layer.channels) == (2, 256)


def test_dim_appends_a_projection_that_is_trained_with_the_model():
    model = build("alexnet_gem", weights=None, dim=32)
    assert model.output.shape == (None, 32)
    whitening = model.get_layer("whitening")
    assert whitening.end_to_end
    assert {id(weight) for weight in whitening.weights} <= {id(weight) for weight in model.trainable_weights}


def test_dim_may_be_larger_than_the_descriptor_and_must_be_positive():
    assert build("alexnet_gem", weights=None, dim=257).output.shape == (None, 257)
    with pytest.raises(ValueError, match="`dim` must be at least 1. Received: dim=0"):
        build("alexnet_gem", weights=None, dim=0)


def test_parts_may_be_chosen_against_the_preset(tmp_path):
    preprocessing = {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "bgr": True}
    model = assemble("alexnet", "spoc", cut="conv3", relu=False, preprocessing=preprocessing, name="mine")
    assert (model.name, model.output.shape[-1]) == ("mine", 384)
    assert model.get_layer("conv3").activation is keras.activations.linear
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(reloaded(photos(64)), model(photos(64)))
    assert reloaded.get_layer("preprocessing").std == (4.0, 5.0, 6.0)


@pytest.mark.parametrize("parts", [("vgg61", "mac"), ("vgg16", "cam")])
def test_unknown_part_is_refused(parts):
    with pytest.raises(ValueError, match="`name` must be a backbone of .* Did you mean 'vgg16_mac'"):
        assemble(*parts)


def test_unknown_preprocessing_is_refused():
    with pytest.raises(ValueError, match="`preprocessing` must be one of caffe, torch"):
        build("vgg16_mac", weights=None, preprocessing="tf")


def test_convolutions_of_a_file_arrive_in_the_layers_in_order(tmp_path):
    source = build("vgg16_mac", weights=None, preprocessing="caffe")
    convolutions = [layer.get_weights() for layer in source.layers if "conv" in layer.name]
    write_npz(tmp_path / "vgg16.npz", [tuple(pair) for pair in convolutions])
    model = build("vgg16_mac", weights=tmp_path / "vgg16.npz", preprocessing="caffe")
    np.testing.assert_array_equal(model(photos()), source(photos()))


def test_weights_saved_from_a_model_are_loaded_into_the_same_preset(tmp_path):
    source = build("vgg16_netvlad", weights=None, clusters=4, preprocessing="torch")
    source.save_weights(tmp_path / "trained.weights.h5")
    model = build("vgg16_netvlad", weights=tmp_path / "trained.weights.h5", clusters=4, preprocessing="torch")
    np.testing.assert_array_equal(model(photos()), source(photos()))


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras's own, on its way to the error
def test_weights_saved_with_another_number_of_clusters_are_refused(tmp_path):
    build("alexnet_netvlad", weights=None, clusters=4).save_weights(tmp_path / "trained.weights.h5")
    with pytest.raises(
        ValueError, match="`weights` must be a file that `save_weights` wrote from the preset 'alexnet_netvlad'"
    ):
        build("alexnet_netvlad", weights=tmp_path / "trained.weights.h5", clusters=5)


def test_own_weights_that_do_not_say_what_they_want_need_the_preprocessing():
    with pytest.raises(ValueError, match="`preprocessing` must be given for own weights of vgg16.*weights='a.weights"):
        build("vgg16_mac", weights="a.weights.h5")


@pytest.mark.parametrize(("content", "error"), [(None, FileNotFoundError), (b"no HDF5", ValueError)])
def test_own_weights_that_cannot_be_read_are_named(tmp_path, content, error):
    path = tmp_path / "own.weights.h5"
    if content:
        path.write_bytes(content)
    with pytest.raises(error, match=r"`weights` must .* Received: weights='.*own.weights.h5'"):
        build("alexnet_mac", weights=path)


def imported(backbone, layers, torchvision=True):
    return ImportedWeights("torchvision", backbone, torchvision, PREPROCESSING["torch"], layers)


@pytest.fixture
def read_as(monkeypatch):
    """Makes every file of another framework read as the given weights."""
    module = importlib.import_module("keras_sare.models.build")  # `models.build` is the function.
    return lambda weights: monkeypatch.setattr(module, "backbone_weights", lambda path: weights)


def test_backbone_of_another_framework_arrives_by_layer_with_its_variant_and_preprocessing(read_as):
    source = assemble("resnet50", "gem", torchvision=True, preprocessing="torch")
    layers = {layer.name: layer.get_weights() for layer in source.layers if layer.weights and layer.name != "gem"}
    read_as(imported("resnet50", layers))
    model = build("resnet50_netvlad", weights="resnet50.pth", clusters=2)  # What lies behind the cut is left over.
    cut = [keras.Model(one.input, one.get_layer("conv4_block6_out").output) for one in (model, source)]
    np.testing.assert_array_equal(cut[0](photos(64)), cut[1](photos(64)))


def test_parts_that_a_file_holds_beside_its_backbone_are_not_dropped_in_silence(read_as):
    source = build("alexnet_mac", weights=None)
    layers = {layer.name: layer.get_weights() for layer in source.layers if layer.weights}
    read_as(replace(imported("alexnet", layers), pooling="gem"))
    with pytest.warns(UserWarning, match="Only the backbone is taken from 'a.pth.tar', which holds gem too"):
        build("alexnet_mac", weights="a.pth.tar")


def test_backbone_of_another_kind_is_refused(read_as):
    read_as(imported("vgg16", {}))
    with pytest.raises(ValueError, match="`weights` must be of alexnet. Received: weights='vgg16.pth' of vgg16"):
        build("alexnet_gem", weights="vgg16.pth")


def test_backbone_with_a_missing_layer_is_refused_before_anything_is_set(read_as):
    read_as(imported("alexnet", {"conv1": [np.zeros((11, 11, 3, 64)), np.zeros(64)]}))
    with pytest.raises(ValueError, match="another network: 4 are missing, from conv2 on. Received: weights='a.pth'"):
        build("alexnet_gem", weights="a.pth")
