"""Weights of ResNet-50 out of an archive for TensorFlow.js: small archives, and stand-ins with the real names."""

import io
import json
import tarfile

import keras
import numpy as np
import pytest

from keras_sare.models import BACKBONES
from keras_sare.models.backbones.resnet50 import layer_name, write_h5
from keras_sare.models.backbones.shared.tensorflow_js import read_tensorflow_js

KERNEL = np.arange(6, dtype="<f4").reshape(2, 3)
BIAS = np.array([7, 8, 9], "<f4")


def archive_of(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/net/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def model_json(**changes):
    weights = [
        {"name": "first/kernel", "shape": [2, 3], "dtype": "float32", **changes},
        {"name": "first/bias", "shape": [3], "dtype": "float32"},
    ]
    return json.dumps({"weightsManifest": [{"paths": ["one.bin", "two.bin"], "weights": weights}]}).encode()


def test_arrays_are_read_across_the_borders_of_files(tmp_path):
    data = KERNEL.tobytes() + BIAS.tobytes()
    files = {"model.json": model_json(), "one.bin": data[:7], "two.bin": data[7:]}
    arrays = read_tensorflow_js(archive_of(tmp_path / "net.tgz", files), "package/net")
    assert list(arrays) == ["first/kernel", "first/bias"]
    np.testing.assert_array_equal(arrays["first/kernel"], KERNEL)
    np.testing.assert_array_equal(arrays["first/bias"], BIAS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"one.bin": b""}, "the archive has no package/net/model.json"),
        ({"model.json": model_json(), "one.bin": bytes(36)}, "the archive has no package/net/two.bin"),
        ({"model.json": model_json(), "one.bin": bytes(32), "two.bin": b""}, "32 bytes of weights where .* lists 36"),
        ({"model.json": model_json(dtype="uint8"), "one.bin": bytes(30), "two.bin": b""}, "not plain float32"),
        ({"model.json": model_json(quantization={}), "one.bin": bytes(36), "two.bin": b""}, "not plain float32"),
    ],
)
def test_other_archives_are_refused(tmp_path, files, message):
    with pytest.raises(OSError, match=message):
        read_tensorflow_js(archive_of(tmp_path / "net.tgz", files), "package/net")


def test_the_first_version_of_resnet50_arrives_by_layer(tmp_path):
    network = BACKBONES["resnet50"].network(keras.Input((None, None, 3)))
    blocks = [
        f"{stage}{block}_branch{part}"
        for stage, blocks in zip("2345", ("abc", "abcd", "abcdef", "abc"), strict=True)
        for block in blocks
        for part in ("1", "2a", "2b", "2c")
        if part != "1" or block == "a"
    ]
    old_names = ["conv1", "bn_conv1", *(f"{kind}{block}" for block in blocks for kind in ("res", "bn"))]
    layers = {layer_name(old): old for old in old_names}
    weighted = [layer for layer in network.layers if layer.weights]
    assert sorted(layers) == sorted(layer.name for layer in weighted)
    generator = np.random.default_rng(0)
    for layer in weighted:
        layer.set_weights([generator.random(weight.shape, "float32") for weight in layer.weights])
    arrays = {
        f"{layers[layer.name]}/{weight.name}": array
        for layer in weighted
        for weight, array in zip(layer.weights, layer.get_weights(), strict=True)
    }
    write_h5(tmp_path / "resnet50.h5", {**arrays, "fc1000/bias": BIAS})
    copy = BACKBONES["resnet50"].network(keras.Input((None, None, 3)))
    copy.load_weights(tmp_path / "resnet50.h5")
    for received, expected in zip(copy.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(received, expected)
    with pytest.raises(ValueError, match=r"conv1_conv/kernel must have shape \(7, 7, 3, 64\)"):
        write_h5(tmp_path / "resnet50.h5", arrays | {"conv1/kernel": KERNEL})
    with pytest.raises(ValueError, match="must be a layer of ResNet-50"):
        layer_name("res6a_branch1")
