import errno
import hashlib
import os
import pickle
import re
import shutil
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from keras_sare.models import BACKBONES, PREPROCESSING, build
from keras_sare.models.backbones.registry import stable_names
from keras_sare.models.weights import imagenet
from keras_sare.models.weights.registry_packages import NumpyUnpickler
from keras_sare.models.weights.weight_files import read_weights, write_npz
from keras_sare.models.weights.weight_sources import APPLICATIONS, WeightSource, how_to_pass_a_file


def convolutions(channels=4, count=13):
    return [(np.full((3, 3, 3, channels), 0.5, "float32"), np.zeros(channels, "float32"))] * count


def source(name, fetch, preprocessing="torch"):
    return WeightSource(name, "0" * 64, preprocessing, f"{name}.npz", fetch)


def write_application_file(path, network, renamed=lambda name: name):
    """Writes weights in the layout of keras.applications' files."""
    with h5py.File(path, "w") as file:
        names = [renamed(layer.name) for layer in network.layers]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name, layer in zip(names, network.layers, strict=True):
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"w{i}".encode() for i in range(len(layer.weights))]
            for i, array in enumerate(layer.get_weights()):
                group[f"w{i}"] = array


def tensorflows_name(name):
    """MobileNetV3's layers had these names when its weights were published."""
    return name.replace("_bn", "/BatchNorm").replace("_squeeze_excite_", "/squeeze_excite/").capitalize()


def good(path, digest):
    write_npz(path, convolutions())


def unreachable(path, digest):
    path.write_bytes(b"half a file")
    raise OSError("Name or service not known")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_SARE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_next_source_is_used_where_the_first_cannot_be_reached(monkeypatch, cache):
    monkeypatch.setitem(imagenet.SOURCES, "vgg16", (source("first", unreachable, "caffe"), source("second", good)))
    weights = imagenet.imagenet_weights("vgg16")
    assert weights.preprocessing == "torch"
    np.testing.assert_array_equal(weights.layers["conv1_1"][0], convolutions()[0][0])
    assert sorted(p.name for p in cache.iterdir()) == ["second.npz", "second.npz.sha256"]


def test_weights_are_fetched_once_and_then_read_from_the_cache(monkeypatch):
    monkeypatch.setitem(imagenet.SOURCES, "vgg16", (source("first", unreachable), source("second", good)))
    imagenet.imagenet_weights("vgg16")
    monkeypatch.setitem(imagenet.SOURCES, "vgg16", (source("first", unreachable), source("second", unreachable)))
    assert imagenet.imagenet_weights("vgg16").source.endswith("second.npz")


def md5_alone(name, fetch):
    return WeightSource(name, "0" * 32, "torch", f"{name}.npz", fetch)


def other(path, digest):
    write_npz(path, [(kernel + 1, bias) for kernel, bias in convolutions()])


def fetched(monkeypatch, one):
    monkeypatch.setitem(imagenet.SOURCES, "vgg16", (one,))
    return imagenet.imagenet_weights("vgg16")


@pytest.mark.parametrize("kind", [source, md5_alone])
def test_cached_weights_that_were_exchanged_are_refused(monkeypatch, cache, kind):
    fetched(monkeypatch, kind("first", good))
    recorded = (cache / "first.npz.sha256").read_text().strip()
    assert recorded == hashlib.sha256((cache / "first.npz").read_bytes()).hexdigest()
    other(cache / "first.npz", None)
    with pytest.raises(ValueError, match=rf"^Weights must have the SHA-256 .*{recorded}; .* Delete .*/first.npz\* "):
        fetched(monkeypatch, kind("first", unreachable))


def test_weights_known_by_md5_alone_must_be_those_of_the_first_use_when_they_are_fetched_again(monkeypatch, cache):
    fetched(monkeypatch, md5_alone("first", good))
    (cache / "first.npz").unlink()
    with pytest.raises(RuntimeError, match="first: ValueError: Weights must have the SHA-256"):
        fetched(monkeypatch, md5_alone("first", other))
    assert [path.name for path in cache.iterdir()] == ["first.npz.sha256"]
    fetched(monkeypatch, md5_alone("first", good))
    (cache / "first.npz").unlink()
    (cache / "first.npz.sha256").unlink()
    fetched(monkeypatch, md5_alone("first", other))


def test_a_download_that_was_checked_by_sha256_needs_no_first_use(monkeypatch, cache):
    fetched(monkeypatch, source("first", good))
    (cache / "first.npz").unlink()
    fetched(monkeypatch, source("first", other))
    fetched(monkeypatch, source("first", unreachable))


def test_weights_whose_sha256_is_known_need_no_first_use(monkeypatch, cache):
    good(cache.parent / "good.npz", None)
    known = hashlib.sha256((cache.parent / "good.npz").read_bytes()).hexdigest()
    cache.mkdir()
    other(cache / "first.npz", None)
    with pytest.raises(ValueError, match=f"^Weights must have the SHA-256 .*{known}"):
        fetched(monkeypatch, replace(source("first", good), sha256=known))
    (cache / "first.npz").unlink()
    with pytest.raises(RuntimeError, match="first: ValueError: Weights must have the SHA-256"):
        fetched(monkeypatch, replace(source("first", other), sha256=known))
    fetched(monkeypatch, replace(source("first", good), sha256=known))


def test_a_cache_for_reading_only_is_read_with_a_warning(monkeypatch, cache, caplog):
    def refuse(target):
        raise PermissionError(errno.EACCES, "Permission denied", str(target))

    cache.mkdir()
    good(cache / "first.npz", None)
    monkeypatch.setattr("keras_sare.models.weights.weight_pins.atomic_path", refuse)
    fetched(monkeypatch, md5_alone("first", unreachable))
    assert "Cannot keep the SHA-256 of weights in" in caplog.text


def test_weights_that_another_package_fetches_are_pinned_too(monkeypatch, cache):
    weights = {"dinov2": [np.ones(3, "float32")]}
    monkeypatch.setattr(imagenet, "dinov2_weights", lambda: weights)
    imagenet.imagenet_weights("dinov2")
    imagenet.imagenet_weights("dinov2")
    weights["dinov2"][0][1] = 2
    with pytest.raises(ValueError, match=r"^Weights must have the SHA-256 .* Delete .*/dinov2\* "):
        imagenet.imagenet_weights("dinov2")


def test_failure_of_every_source_lists_each_reason_and_how_to_pass_a_file(monkeypatch, cache):
    monkeypatch.setitem(imagenet.SOURCES, "vgg16", (source("first", unreachable), source("second", unreachable)))
    with pytest.raises(RuntimeError) as error:
        build("vgg16_netvlad")
    for part in ("first: OSError: Name or service not known", "second: OSError", "Pass a file instead: weights="):
        assert part in str(error.value)
    assert list(cache.iterdir()) == []


def test_backbone_without_a_source_names_the_file_to_pass():
    with pytest.raises(
        RuntimeError,
        match=r"'alexnet' is known.\nPass a file instead: weights='alexnet-owt-7be5be79.pth' \(torchvision",
    ):
        build("alexnet_gem")


def test_every_backbone_names_the_file_to_pass():
    for backbone in imagenet.SOURCES:
        assert re.fullmatch(r"weights='[^']+\.(h5|pth)'.* \(.+\)", how_to_pass_a_file(backbone))


def test_every_convolutional_backbone_has_its_sources_pinned_by_digest():
    assert set(imagenet.SOURCES) == set(BACKBONES) - {"dinov2"}
    for sources in imagenet.SOURCES.values():
        assert all(len(s.digest) in (32, 64) and s.preprocessing in PREPROCESSING for s in sources)


KNOWN_BY_OTHERS = {"vgg16", "resnet50"}
"""Keras gives their MD5, other projects the SHA-256."""


def test_a_cached_copy_that_is_the_download_itself_has_its_digest():
    for backbone, (_, digest) in APPLICATIONS.items():
        known = imagenet.SOURCES[backbone][0].sha256
        assert known == (digest if len(digest) == 64 else None)
    assert {name for name, (_, digest) in APPLICATIONS.items() if len(digest) == 64} == KNOWN_BY_OTHERS | {
        "convnext_tiny"
    }


@pytest.mark.parametrize("backbone", sorted(set(APPLICATIONS) - KNOWN_BY_OTHERS))
def test_digests_are_those_of_keras_applications(backbone):
    kind, key = {
        "resnet101": ("resnet", "resnet101"),
        "mobilenet_v3": ("mobilenet_v3", "large_224_1.0_float"),
        "efficientnet_v2_b0": ("efficientnet_v2", "b0"),
        "convnext_tiny": ("convnext", "convnext_tiny"),
    }[backbone]
    assert APPLICATIONS[backbone][1] == getattr(keras.src.applications, kind).WEIGHTS_HASHES[key][1]


@pytest.mark.parametrize(
    "backbone",
    [
        "mobilenet_v3",
        "convnext_tiny",
        "alexnet",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "resnet101", "efficientnet_v2_b0")),
    ],
)
def test_file_of_keras_applications_arrives_by_layer(monkeypatch, tmp_path, backbone):
    network = BACKBONES[backbone].network(keras.Input((None, None, 3)))
    write_application_file(tmp_path / "file.h5", network, tensorflows_name if backbone == "mobilenet_v3" else str)
    stand_in = WeightSource(
        "stand-in",
        "0" * 32,
        BACKBONES[backbone].preprocessing,
        "it.h5",
        lambda path, _: shutil.copy(tmp_path / "file.h5", path),
    )
    monkeypatch.setitem(imagenet.SOURCES, backbone, (stand_in,))
    names = stable_names(network)
    expected = {names.get(layer.name, layer.name): layer.get_weights() for layer in network.layers}
    model = build(f"{backbone}_mac")
    weighted = [layer for layer in model.layers if layer.weights]
    assert len(weighted) > 4
    for layer in weighted:
        for received, array in zip(layer.get_weights(), expected[layer.name], strict=True):
            np.testing.assert_array_equal(received, array)


def test_file_of_another_network_of_keras_applications_is_refused(tmp_path):
    write_application_file(tmp_path / "vgg16.h5", BACKBONES["vgg16"].network(keras.Input((None, None, 3))))
    with pytest.raises(ValueError, match="`weights` must hold the layers of mobilenet_v3 without its classifier"):
        build("mobilenet_v3_gem", weights=tmp_path / "vgg16.h5")


class RunsCode:
    def __reduce__(self):
        return os.system, ("echo ran",)


@pytest.mark.parametrize("evil", [RunsCode(), {"w": [RunsCode()]}, np.array([RunsCode()], object), print])
def test_pickle_that_wants_more_than_arrays_is_refused(tmp_path, evil):
    (tmp_path / "p").write_bytes(pickle.dumps(evil))
    with (
        open(tmp_path / "p", "rb") as file,
        pytest.raises(pickle.UnpicklingError, match="only numpy arrays are admitted"),
    ):
        NumpyUnpickler(file).load()


def test_pickle_of_arrays_is_read(tmp_path):
    (tmp_path / "p").write_bytes(pickle.dumps({"w": convolutions()}, protocol=3))
    with open(tmp_path / "p", "rb") as file:
        np.testing.assert_array_equal(NumpyUnpickler(file).load()["w"][0][0], convolutions()[0][0])


def test_file_of_another_network_is_refused_by_the_first_layer_that_differs(tmp_path):
    write_npz(tmp_path / "other.npz", convolutions(channels=96))
    with pytest.raises(ValueError, match=r"belong to another network: conv1_1 would get \[\(3, 3, 3, 96\), \(96,\)\]"):
        build("vgg16_mac", weights=tmp_path / "other.npz", preprocessing="caffe")


@pytest.mark.parametrize("count", [1, 14])
def test_file_of_another_network_is_refused_by_the_number_of_layers(tmp_path, count):
    write_npz(tmp_path / "other.npz", convolutions(channels=64, count=count))
    with pytest.raises(ValueError, match=f"{count} convolutions instead of 13"):
        build("vgg16_mac", weights=tmp_path / "other.npz", preprocessing="caffe")


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("missing.h5", None, FileNotFoundError, "`weights` must name an existing file"),
        (
            "text.h5",
            b"hello",
            ValueError,
            "`weights` must hold the layers of vgg16 .* as keras.applications stores them",
        ),
        ("text.npz", b"hello", ValueError, "`weights` must hold the layers of vgg16"),
        (
            "weights.onnx",
            b"hello",
            ValueError,
            r"`weights` must be a .h5, .npz, .weights.h5, .pth, .pth.tar",
        ),
    ],
)
def test_file_that_is_no_weights_file_is_refused(tmp_path, name, content, error, message):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        build("vgg16_mac", weights=tmp_path / name, preprocessing="caffe")


def test_unknown_weights_of_vgg16_need_their_preprocessing_named(tmp_path):
    write_npz(tmp_path / "mine.npz", convolutions())
    with pytest.raises(ValueError, match="`preprocessing` must be given for weights of vgg16 that are not known"):
        read_weights(tmp_path / "mine.npz")


def test_keras_applications_layout_is_read_and_torchvision_weights_are_recognised(real_data):
    path = real_data / "weights" / "vgg16_imagenet_torchvision_notop.h5"
    weights = read_weights(path)
    assert weights.preprocessing == "torch"
    reference = keras.applications.VGG16(include_top=False, weights=None)
    reference.load_weights(path)
    convolutions = [layer for layer in reference.layers if "conv" in layer.name]
    for layer, (kernel, bias) in zip(convolutions, weights.layers.values(), strict=True):
        np.testing.assert_array_equal(layer.get_weights()[0], kernel)
        np.testing.assert_array_equal(layer.get_weights()[1], bias)


@pytest.mark.slow
def test_package_registry_gives_the_torchvision_weights(tmp_path):
    registry = imagenet.SOURCES["vgg16"][1]
    registry.fetch(tmp_path / "vgg16.npz", registry.digest)
    assert read_weights(tmp_path / "vgg16.npz").preprocessing == "torch"
