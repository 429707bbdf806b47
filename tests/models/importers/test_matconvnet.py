import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from scipy.io import savemat

from keras_sare.layers import NetVLAD, Whitening
from keras_sare.models.backbones.vgg16 import CONVOLUTIONS
from keras_sare.models.importers import matconvnet
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.vgg16_netvlad import from_channel_major, to_channel_major

DATA = Path(__file__).parents[2] / "data"
SEEDED = SimpleNamespace(**runpy.run_path(str(DATA / "matlab_parameters.py")))
WRITERS = SimpleNamespace(**runpy.run_path(str(DATA / "matlab_writers.py")))
CHANNELS = 4
CLUSTERS = 3
DIM = 5
METHODS = [f"{version}{words}" for version in ("vlad", "vladv2") for words in ("", "_preL2", "_intra", "_preL2_intra")]


def narrow_backbone() -> dict[str, list[np.ndarray]]:
    random = np.random.RandomState(1)
    widths = [3, *range(5, 17), CHANNELS]
    return {
        name: [random.normal(size=(3, 3, *pair)).astype("f4"), random.normal(size=pair[1]).astype("f4")]
        for name, pair in zip(CONVOLUTIONS, zip(widths, widths[1:], strict=False), strict=True)
    }


def network(method: str = "vlad_preL2_intra", dim: int | None = DIM) -> dict[str, Any]:
    return SEEDED.network(narrow_backbone(), SEEDED.vlad_head(method, dim, CLUSTERS, CHANNELS))


def save(path: Path, net: dict[str, Any]) -> Path:
    savemat(path, SEEDED.for_savemat({"net": net}))
    return path


def assert_same(found: ImportedWeights, expected: ImportedWeights) -> None:
    assert found.layers.keys() == expected.layers.keys()
    for name, arrays in expected.layers.items():
        for one, other in zip(found.layers[name], arrays, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            assert np.array_equal(one, other)
    for part in ("pooling", "options", "cut", "relu", "dim", "preprocessing"):
        assert getattr(found, part) == getattr(expected, part)


def matlab_forward(features: np.ndarray, method: str) -> np.ndarray:
    """layerVLAD, layerVLADv2 and the layers around them, position by position in float64, then WPCA and finalL2."""
    parts = SEEDED.clusters(CLUSTERS, CHANNELS)
    y = np.zeros((CLUSTERS, CHANNELS))
    for x in features.reshape(-1, CHANNELS).astype("f8"):
        if "preL2" in method:
            x = x / np.sqrt(1e-12 + x @ x)
        scores = np.exp(x @ parts["assignment"] + ("v2" in method) * parts["bias"])
        for k in range(CLUSTERS):
            y[k] += scores[k] / scores.sum() * (x - parts["centres"][:, k])
    if "intra" in method:
        y /= np.sqrt(1e-12 + np.sum(y**2, axis=1, keepdims=True))
    flat = np.array([y[i % CLUSTERS, i // CLUSTERS] for i in range(y.size)])
    flat /= np.linalg.norm(flat)
    projection, bias = SEEDED.whitening(y.size, DIM)
    white = flat @ projection + bias
    return white / np.linalg.norm(white)


@pytest.mark.parametrize("method", METHODS)
def test_every_vlad_method_computes_what_the_matlab_layers_do(tmp_path: Path, method: str) -> None:
    imported = matconvnet.read(save(tmp_path / "net.mat", network(method)))
    options = {"clusters": CLUSTERS, "method": method, "normalization": "matlab"}
    assert (imported.pooling, imported.options) == ("netvlad", options)
    assert (imported.cut, imported.relu, imported.dim) == ("conv5_3", False, DIM)
    features = np.random.RandomState(2).normal(size=(1, 3, 2, CHANNELS)).astype("f4")
    netvlad = NetVLAD(**imported.options)
    whitening = Whitening(DIM)
    whitening(netvlad(features))
    netvlad.set_weights(imported.layers["netvlad"])
    whitening.set_projection(*imported.layers["whitening"])
    found = keras.ops.convert_to_numpy(whitening(netvlad(features)))[0]
    assert np.abs(found - matlab_forward(features, method)).max() < 1e-6


def test_convolutions_and_mean_come_as_they_are(tmp_path: Path) -> None:
    backbone = narrow_backbone()
    imported = matconvnet.read(save(tmp_path / "net.mat", network()))
    for name, arrays in backbone.items():
        assert all(np.array_equal(*pair) for pair in zip(imported.layers[name], arrays, strict=True))
    assert imported.preprocessing == {"mean": tuple(SEEDED.MEAN.tolist()), "std": (1.0, 1.0, 1.0), "bgr": False}
    assert (imported.backbone, imported.layout, imported.torchvision) == ("vgg16", "matconvnet", False)


@pytest.mark.parametrize(("name", "pooling"), [("max:core", "mac"), ("avg:core", "spoc")])
def test_max_and_average_pooling_are_known(tmp_path: Path, name: str, pooling: str) -> None:
    head = [{"type": "custom", "name": name}, {"type": "custom", "name": "postL2"}]
    imported = matconvnet.read(save(tmp_path / "off.mat", SEEDED.network(narrow_backbone(), head)))
    assert (imported.pooling, imported.options, imported.dim) == (pooling, {}, None)
    assert not imported.local_l2
    pre_l2 = [SEEDED.vlad_head()[0], *head]
    assert matconvnet.read(save(tmp_path / "l2.mat", SEEDED.network(narrow_backbone(), pre_l2))).local_l2
    white = SEEDED.network(narrow_backbone(), head + SEEDED.white_head(CHANNELS, 2))
    imported = matconvnet.read(save(tmp_path / "white.mat", white))
    assert imported.dim == 2
    # One descriptor element for each channel: nothing changes places.
    assert np.array_equal(imported.layers["whitening"][0], SEEDED.whitening(CHANNELS, 2)[0])


@pytest.mark.parametrize("method", ["vlad_preL2_intra", "vladv2_preL2"])
@pytest.mark.parametrize("version", ["v5", "v7.3"])
def test_objects_of_matlab_classes_are_read_like_structs(tmp_path: Path, method: str, version: str) -> None:
    net = network(method)
    table = WRITERS.Table()
    expected = matconvnet.read(save(tmp_path / "structs.mat", net))
    for i, layer in enumerate(net["layers"]):
        if layer["name"] == "vlad:core":
            # The class has a saveobj that returns all properties as a struct.
            saved = {**layer, "momentum": np.empty((0, 0)), "precious": np.zeros((1, 1))}
            net["layers"][i] = table.add("layerVLADv2" if "v2" in method else "layerVLAD", saved, saved=True)
        elif layer["type"] == "custom":
            defaults = {"type": "custom", "name": "wholeL2"}
            net["layers"][i] = table.add("layerWholeL2Normalize", {"name": layer["name"]}, defaults)
    write = WRITERS.write_v73 if version == "v7.3" else WRITERS.write_v5
    write(tmp_path / "objects.mat", {"net": net}, table)
    assert_same(matconvnet.read(tmp_path / "objects.mat"), expected)


def test_a_training_snapshot_of_version_7_3_is_read(tmp_path: Path) -> None:
    net = network(dim=None)
    expected = matconvnet.read(save(tmp_path / "net.mat", net))
    net["layers"][0]["momentum"] = [np.zeros((1, 1), "f4"), np.zeros((1, 1), "f4")]
    others = {"obj": {"val": {"recall": np.ones((21, 3))}}, "opts": {"method": "vlad_preL2_intra"}, "auxData": {}}
    WRITERS.write_v73(tmp_path / "snapshot.mat", {"net": net, **others})
    assert_same(matconvnet.read(tmp_path / "snapshot.mat"), expected)


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    net = network()
    expected = matconvnet.read(save(tmp_path / "net.mat", net))
    net |= net.pop("meta")
    for layer in net["layers"]:
        if layer["type"] == "conv":
            layer["filters"], layer["biases"] = layer.pop("weights")
    assert_same(matconvnet.read(save(tmp_path / "old.mat", net)), expected)


def test_a_bare_vgg16_gives_the_backbone_alone(tmp_path: Path) -> None:
    net = SEEDED.network(narrow_backbone(), [{"type": "relu", "name": "relu5_3"}, {"type": "pool", "name": "pool5"}])
    net["layers"] += [{"type": "conv", "name": "fc6"}, {"type": "softmax", "name": "prob"}]
    savemat(tmp_path / "bare.mat", SEEDED.for_savemat(net))
    imported = matconvnet.read(tmp_path / "bare.mat")
    assert (imported.pooling, imported.cut, imported.relu) == (None, "conv5_3", True)
    assert tuple(imported.layers) == CONVOLUTIONS


def test_a_backbone_that_ends_earlier_or_keeps_its_relu_is_known(tmp_path: Path) -> None:
    short = {name: arrays for name, arrays in narrow_backbone().items() if name < "conv4_3"}
    channels = len(short["conv4_2"][1])
    head = [{"type": "relu", "name": "relu4_2"}, *SEEDED.vlad_head("vlad", None, CLUSTERS, channels)]
    imported = matconvnet.read(save(tmp_path / "net.mat", SEEDED.network(short, head)))
    assert (imported.cut, imported.relu) == ("conv4_2", True)
    assert imported.layers["netvlad"][1].shape == (CLUSTERS, channels)


def test_the_two_orders_of_a_whitening_matrix_are_each_others_inverse() -> None:
    matrix = np.arange(24.0).reshape(12, 2)
    ours = from_channel_major(matrix, 3)
    for k in range(3):
        for d in range(4):
            assert np.array_equal(ours[k * 4 + d], matrix[k + 3 * d])
    assert np.array_equal(to_channel_major(ours, 3), matrix)
    assert np.array_equal(from_channel_major(np.asfortranarray(matrix), 3), ours)


def test_alexnet_is_refused_with_the_reason(tmp_path: Path) -> None:
    layers = [{"type": "conv", "name": "conv1"}, {"type": "relu"}, {"type": "pool"}, {"type": "normalize"}]
    with pytest.raises(ValueError, match=r"Caffe's AlexNet .* not supported: it normalises across channels and splits"):
        matconvnet.read(save(tmp_path / "net.mat", {"layers": layers}))


def without(net: dict[str, Any], name: str) -> dict[str, Any]:
    net["layers"] = [layer for layer in net["layers"] if layer["name"] != name]
    return net


def changed(net: dict[str, Any], which: str, /, **values: Any) -> dict[str, Any]:
    for layer in net["layers"]:
        if layer["name"] == which:
            layer.update(values)
    return net


def lacking(net: dict[str, Any], name: str, key: str) -> dict[str, Any]:
    for layer in net["layers"]:
        if layer["name"] == name:
            del layer[key]
    return net


def test_objects_of_other_classes_are_refused_whatever_their_name(tmp_path: Path) -> None:
    net = network(dim=None)
    table = WRITERS.Table()
    net["layers"][-1] = table.add("layerPowerLaw", {"type": "custom", "name": "postL2"})
    WRITERS.write_v5(tmp_path / "net.mat", {"net": net}, table)
    with pytest.raises(ValueError, match="it ends in the layers .* which NetVLAD does not make"):
        matconvnet.read(tmp_path / "net.mat")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (without(network(), "conv3_2"), "it has the convolutions .* where VGG16 has"),
        (without(network(), "pool2"), "it has the layers .* where VGG16 has"),
        (changed(network(), "conv1_2", stride=2), "its layer conv1_2 has stride .* where VGG16 has 1"),
        (changed(network(), "pool1", method="avg"), "its layer pool1 has method avg where VGG16 has max"),
        (changed(network(), "conv2_1", weights=[]), "its layer conv2_1 has no weights"),
        (changed(network(), "conv2_1", weights=[np.ones((3, 3, 2, 4)), np.ones(3)]), "and 3 biases"),
        (changed(network(), "conv1_2", dilate=2), "its layer conv1_2 has dilate .* where VGG16 has 1"),
        (lacking(network(), "conv1_2", "pad"), "its layer conv1_2 has pad 0 where VGG16 has 1"),
        (lacking(network(), "pool1", "stride"), "its layer pool1 has stride 1 where VGG16 has 2"),
        (changed(network(), "pool1", pad=np.empty((0, 0))), "its layer pool1 has pad .* where VGG16 has 0"),
        (without(network(), "postL2"), "it ends in the layers .* which NetVLAD does not make: it ends in postL2"),
        (changed(network(), "postL2", name="power"), "it ends in the layers .*'power'.* which NetVLAD does not make"),
        (changed(network(), "finalL2", name="power"), "it ends in the layers .*'power'.* which NetVLAD does not make"),
        (changed(network(), "preL2", param=np.array([8, 1, 2e-5, 0.75])), "preL2 is no L2 normalisation of 4 channels"),
        (changed(network(), "preL2", param=np.array([7, 1e-12, 1, 0.5])), "preL2 is no L2 normalisation of 4 channels"),
        (changed(network(), "vlad:intranorm", param=np.array([5, 1e-12, 1, 0.5])), "vlad:intranorm is no L2 normali"),
        (changed(network(), "preL2", param=np.array([8])), "preL2 is no L2 normalisation"),
        (changed(network(), "vlad:core", name="fisher"), "its layer fisher is none of the methods vlad, vladv2, max"),
        (changed(network(), "WPCA", weights=[np.ones((3, 3, 12, 2)), np.ones(2)]), r"WPCA has a kernel .*, not 1 x 1"),
        (changed(network(), "WPCA", pad=1), "its layer WPCA has pad .* where NetVLAD has 0"),
        (changed(network(), "WPCA", stride=2), "its layer WPCA has stride .* where NetVLAD has 1"),
        (changed(network(), "vlad:core", weights=[]), "its layer vlad:core is none of the methods vlad, vladv2, max"),
        (changed(network(), "vlad:core", weights=[np.ones((1, 1, 4, 3)), np.ones(4)]), "do not fit 4 channels"),
        (changed(network(), "WPCA", weights=[np.ones((1, 1, 9, 2)), np.ones(2)]), "WPCA takes 9 of 12 values"),
        ({**network(), "meta": {"netID": "vd16"}}, "it has no `meta.normalization.averageImage`"),
        ({"layers": ["conv"]}, "layer 1 is an object without content here; save a copy"),
        ({"params": 1}, r"it has no network `net` with `layers`, only \['net'\]"),
    ],
)
def test_other_networks_are_refused_by_what_differs(tmp_path: Path, net: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"network of NetVLAD's MATLAB code on VGG16: .*{message}.* Received: path="):
        matconvnet.read(save(tmp_path / "net.mat", net))
