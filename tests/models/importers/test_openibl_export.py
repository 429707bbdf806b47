import keras
import numpy as np
import pytest

from keras_sare.models import assemble, with_whitening
from keras_sare.models.importers.formats.torch_file import read_torch
from keras_sare.models.importers.load import load_weights_from, save_weights_as

CLUSTERS = 4
DIM = 8
OPTIONS = {"clusters": CLUSTERS, "normalization": "torch"}
OPENIBL = {"mean": (123.68, 116.779, 103.939), "std": (1.0, 1.0, 1.0)}


def network(preprocessing=OPENIBL, **arguments):
    model = assemble("vgg16", "netvlad", preprocessing=preprocessing, options=OPTIONS, **arguments)
    model.get_layer("netvlad").set_clusters(np.random.RandomState(1).normal(size=(CLUSTERS, 512)), 30.0)
    return model


@pytest.fixture(scope="module")
def plain():
    return network()


@pytest.fixture(scope="module")
def whitened(plain):
    random = np.random.RandomState(2)
    return with_whitening(plain, random.normal(size=(512 * CLUSTERS, DIM)), random.normal(size=DIM), DIM)


def assert_same_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("name", ["plain", "whitened"])
@pytest.mark.parametrize(("layout", "suffix"), [("openibl", "pth"), ("hloc", "mat")])
def test_model_comes_back_to_the_last_bit(name, layout, suffix, tmp_path, request):
    model = request.getfixturevalue(name)
    path = tmp_path / f"model.{suffix}"
    save_weights_as(model, path, layout)
    again = load_weights_from(path, normalization="torch" if layout == "hloc" else None)
    assert_same_weights(again, model)
    assert again.get_layer("netvlad").get_config() == model.get_layer("netvlad").get_config()
    if name == "whitened":
        images = np.random.RandomState(3).randint(0, 255, (1, 48, 64, 3)).astype("uint8")
        np.testing.assert_array_equal(again(images), model(images))


def test_model_without_whitening_is_a_checkpoint_of_openibl(plain, tmp_path):
    save_weights_as(plain, tmp_path / "model.pth", "openibl")
    content = read_torch(tmp_path / "model.pth")
    assert set(content) == {"state_dict", "epoch", "best_recall5"}
    state = content["state_dict"]
    assert state["base_model.base.28.weight"].shape == (512, 512, 3, 3)
    assert state["net_vlad.conv.weight"].shape == (CLUSTERS, 512, 1, 1)
    assert len(state) == 28


def test_model_with_whitening_is_a_bare_state_dict_as_published(whitened, tmp_path):
    save_weights_as(whitened, tmp_path / "model.pth", "openibl")
    state = read_torch(tmp_path / "model.pth")
    assert state["pca_layer.weight"].shape == (DIM, 512 * CLUSTERS, 1, 1)
    assert state["pca_layer.bias"].shape == (DIM,)
    assert len(state) == 30


def test_model_for_bgr_images_is_turned_to_rgb(tmp_path):
    model = network("caffe")
    save_weights_as(model, tmp_path / "model.pth", "openibl")
    rgb = load_weights_from(tmp_path / "model.pth")
    images = np.random.RandomState(3).randint(0, 255, (1, 48, 64, 3)).astype("uint8")
    np.testing.assert_allclose(rgb(images), model(images), rtol=0, atol=1e-6)
    save_weights_as(rgb, tmp_path / "again.pth", "openibl")
    assert (tmp_path / "again.pth").read_bytes() == (tmp_path / "model.pth").read_bytes()


@pytest.mark.parametrize("layout", ["openibl", "hloc"])
def test_model_of_the_other_rule_of_normalisation_is_written_with_a_warning(layout, tmp_path):
    model = assemble("vgg16", "netvlad", preprocessing=OPENIBL, options={"clusters": CLUSTERS})
    with pytest.warns(UserWarning, match=rf"{layout} divides clusters by max\(\|x\|, 1e-12\), this model by sqrt"):
        save_weights_as(model, tmp_path / "model", layout)
    assert (tmp_path / "model").is_file()


def test_models_that_openibl_has_not_are_refused(plain, tmp_path):
    path = tmp_path / "model.pth"
    with pytest.raises(ValueError, match="`layout` must be one of openibl, hloc. Received: layout='nanne'"):
        save_weights_as(plain, path, "nanne")
    with pytest.raises(ValueError, match=r"`model` must be a vgg16_netvlad .* model=alexnet_mac without \['conv1_1', "):
        save_weights_as(assemble("alexnet", "mac"), path, "openibl")
    with pytest.raises(ValueError, match=r"`model` must subtract the mean .* and not divide, .* std=\(58.395, 57.12"):
        save_weights_as(network("torch"), path, "openibl")
    with pytest.raises(ValueError, match="`model` must pool conv5_3 before its ReLU"):
        save_weights_as(network(relu=True), path, "openibl")
    netvlad = plain.get_layer("netvlad")
    other = type(netvlad)(CLUSTERS, method="vlad_intra", name="netvlad")
    with pytest.raises(ValueError, match="NetVLAD's method vlad_preL2_intra. Received: method=vlad_intra"):
        save_weights_as(keras.Model(plain.input, other(netvlad.input)), path, "openibl")
    assert not path.exists()


def further(model, layer):
    return keras.Model(model.input, layer(model.output), name=model.name)


def test_layers_that_would_be_lost_are_refused_by_name(plain, whitened, tmp_path):
    path = tmp_path / "model.pth"
    twice = with_whitening(whitened, np.eye(DIM, 4), np.zeros(4), 4)
    for model, name in (
        (twice, "whitening_2"),
        (further(plain, keras.layers.UnitNormalization(name="local_l2")), "local_l2"),
        (further(whitened, keras.layers.Dense(2, name="head")), "head"),
        (assemble("vgg16", "gem", dim=4), "gem"),
    ):
        with pytest.raises(ValueError, match=rf"at most one whitening, .* and with \['{name}'[,\]]"):
            save_weights_as(model, path, "openibl")
    with pytest.raises(ValueError, match="must have a Whitening as its layer 'whitening'. Received: Dense"):
        save_weights_as(further(plain, keras.layers.Dense(2, name="whitening")), path, "openibl")
    assert not path.exists()
