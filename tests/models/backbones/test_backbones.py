"""Every backbone: its layers, where it ends, where its weights come from."""

import functools
import re
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sare.models import BACKBONES, PREPROCESSING
from keras_sare.models.backbones.shared.names import cut_network, stable_names, with_stable_names

ORACLE = Path(__file__).parents[2] / "data" / "torchvision_oracle.npz"

SIDES = {
    "vgg16": (20, 20, 10),
    # It loses the border: 19 positions of 16 pixels.
    "alexnet": (19, 19, 9),
    "resnet50": (20, 10, 10),
    "resnet101": (20, 10, 10),
    "mobilenet_v3": (20, 10, 10),
    "efficientnet_v2_b0": (20, 10, 10),
    "efficientnet_lite0": (20, 10, 10),
    "convnext_tiny": (20, 10, 10),
}
"""Height and width of the maps of an image of 320 x 320: of the cuts `signed` and `fine`, of `deep`, of `pooled`."""

KERAS_FILES = ("resnet", "mobilenet_v3", "efficientnet_v2", "convnext")
"""Modules of keras.applications that list digests."""

KNOWN_BY_OTHERS = {"vgg16", "resnet50"}
"""Keras gives their MD5, other projects the SHA-256."""


@functools.cache
def network(name, torchvision=False):
    parts = BACKBONES[name]
    return with_stable_names((parts.torchvision if torchvision else parts.network)(keras.Input((None, None, 3))))


def drawn_weights(name, shapes):
    """As in make_torchvision_oracle.py."""
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if len(shapes) == 4:
        drawn = [0.1 + 0.4 * rng.rand(*shapes[0]), 0.1 * rng.randn(*shapes[1])]
        return [*drawn, 0.1 * rng.randn(*shapes[2]), 0.5 + rng.rand(*shapes[3])]
    scale = np.sqrt(2 / np.prod(shapes[0][:-1]))
    return [scale * rng.randn(*shapes[0]), *(0.1 * rng.randn(*shape) for shape in shapes[1:])]


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("resnet50", {"conv4": "conv4_block6_out", "conv5": "conv5_block3_out"}),
        pytest.param("resnet101", {"conv4": "conv4_block23_out", "conv5": "conv5_block3_out"}, marks=pytest.mark.slow),
        ("alexnet", {"conv5": "conv5", "pool5": "pool5"}),
    ],
)
def test_network_gives_what_torchvision_gives(name, cuts):
    built = network(name, torchvision=name != "alexnet")
    for layer in built.layers:
        if layer.weights:
            layer.set_weights(drawn_weights(layer.name, [tuple(weight.shape) for weight in layer.weights]))
    images = np.random.RandomState(0).rand(1, 75, 64, 3).astype("float32") * 4 - 2
    outputs = keras.Model(built.input, [built.get_layer(layer).output for layer in cuts.values()])(images)
    with np.load(ORACLE) as stored:
        for part, maps in zip(cuts, outputs, strict=True):
            assert maps.shape == tuple(stored[f"{name}_{part}_shape"])
            values = maps.numpy().ravel()[stored[f"{name}_{part}_indices"]]
            np.testing.assert_allclose(values, stored[f"{name}_{part}_values"], atol=1e-4 * maps.numpy().max(), rtol=0)


def test_torchvision_resnet_has_the_layer_names_of_keras_applications():
    ours, theirs = (
        {layer.name for layer in network("resnet50", torchvision).layers[1:]} for torchvision in (True, False)
    )
    assert theirs < ours
    # The padding, which keras.applications leaves to its convolutions.
    assert all(re.fullmatch(r"conv\d_block\d_2_pad", name) for name in ours - theirs)


@pytest.mark.parametrize("name", ["mobilenet_v3", "convnext_tiny"])  # All other layers have names.
def test_names_do_not_depend_on_what_was_built_before(name):
    first, second = (
        [layer.name for layer in cut_network(whole, BACKBONES[name].cuts.deep.layer, True).layers[1:]]
        for whole in (network(name), network.__wrapped__(name))
    )
    assert first == second


def test_every_backbone_has_its_row():
    assert set(SIDES) == set(BACKBONES) - {"dinov2"}  # Which has tests of its own.


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "resnet101" else name for name in SIDES]
)
def test_cuts_name_layers_with_their_channels_and_stride(name):
    whole = network(name)
    cuts = BACKBONES[name].cuts
    fine, deep, pooled = SIDES[name]
    ends = {cuts.signed: fine, cuts.fine: fine, cuts.deep: deep, cuts.pooled: pooled}
    model = keras.Model(whole.input, [whole.get_layer(cut.layer).output for cut in ends])
    for (cut, side), shape in zip(ends.items(), model.compute_output_shape((1, 320, 320, 3)), strict=True):
        assert tuple(shape) == (1, side, side, cut.channels)


def test_every_backbone_has_sources_pinned_by_digest_and_names_the_file_to_pass():
    for name in SIDES:
        parts = BACKBONES[name]
        assert re.fullmatch(r"weights='[^']+\.(h5|pth)'.* \(.+\)", parts.file)
        assert all(len(one.digest) in (32, 64) and one.preprocessing in PREPROCESSING for one in parts.sources)
        assert len({one.file_name for one in parts.sources}) == len(parts.sources)


def test_digests_are_those_of_keras_applications_or_sha256():
    tables = [getattr(keras.src.applications, module).WEIGHTS_HASHES for module in KERAS_FILES]
    published = {digest for table in tables for _, digest in table.values()}
    of_keras = {name: one for name in SIDES for one in BACKBONES[name].sources if one.name == "keras.applications"}
    assert {name for name, one in of_keras.items() if one.digest not in published} == KNOWN_BY_OTHERS
    for name, one in of_keras.items():
        # A cached copy that is the download itself has its digest.
        assert one.sha256 == (one.digest if len(one.digest) == 64 else None)
        assert len(one.digest) == 64 or name not in KNOWN_BY_OTHERS


def test_papers_names_are_vgg16s():
    names = [layer.name for layer in network("vgg16").layers[1:]]
    assert names[:3] == ["conv1_1", "conv1_2", "pool1"]
    assert names[-2:] == ["conv5_3", "pool5"]


def test_vgg16_is_that_of_keras_applications_but_for_its_names():
    ours, theirs = (
        [(type(layer), {key: value for key, value in layer.get_config().items() if key != "name"}) for layer in whole]
        for whole in (network("vgg16").layers[1:], keras.applications.VGG16(include_top=False, weights=None).layers[1:])
    )
    assert ours == theirs


def test_names_of_layers_that_have_one_stay():
    assert stable_names(network("resnet50")) == {}
    names = [layer.name for layer in network("mobilenet_v3").layers]
    assert {"conv", "activation", "activation_19", "re_lu_18", "expanded_conv_11_add"} <= set(names)


def test_relu_is_removed_as_a_layer_and_as_an_activation():
    whole = network("resnet50", torchvision=True)
    assert cut_network(whole, "conv4_block6_out", relu=False).layers[-1].name == "conv4_block6_add"
    linear = cut_network(network("alexnet"), "conv5", relu=False)
    assert linear.get_layer("conv5").activation is keras.activations.linear
    assert linear.get_layer("conv4").activation is keras.activations.relu


def test_unknown_cut_lists_the_layers():
    with pytest.raises(ValueError, match=r"`cut` must be one of pad1, conv1, .*pool5. Received: cut='conv6'"):
        cut_network(network("alexnet"), "conv6", relu=True)


def test_layer_without_activation_cannot_lose_it():
    with pytest.raises(ValueError, match="`relu` must be True .* Received: cut='pool5'"):
        cut_network(network("alexnet"), "pool5", relu=False)


def test_preprocessing_is_that_of_keras_applications():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype("float32")
    for name, arguments in PREPROCESSING.items():
        if name == "efficientnet_lite":  # keras.applications does not have it.
            continue
        mode = {"tensorflow": "tf"}.get(name, name)
        channels = image[..., ::-1] if arguments.get("bgr") else image
        expected = keras.src.applications.imagenet_utils.preprocess_input(image.copy(), mode=mode)
        np.testing.assert_allclose((channels - arguments["mean"]) / arguments["std"], expected, atol=1e-4)
