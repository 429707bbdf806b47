import h5py
import numpy as np
import pytest

from keras_sare.models import antialiases, build
from keras_sare.models.importers import cirtorch, nanne, netvlad_tf, openibl, torchvision, vgb
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.formats.torch_file import write_torch
from keras_sare.models.importers.load import load_weights_from
from keras_sare.models.importers.read import backbone_weights
from keras_sare.models.importers.torchvision import ALEXNET, RESNETS, VGG16

VGG16_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


def blank(*shape):
    """An array of any size that takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


def alexnet(prefix):
    shapes = [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]
    layers = {f"{prefix}{place}": shape for place, shape in zip(ALEXNET, shapes, strict=True)}
    return {
        key: array
        for name, shape in layers.items()
        for key, array in ((f"{name}.weight", blank(*shape)), (f"{name}.bias", blank(shape[0])))
    }


def vgg16(prefix):
    state = {}
    channels = 3
    for place, filters in zip(VGG16, VGG16_CHANNELS, strict=True):
        state |= {f"{prefix}{place}.weight": blank(filters, channels, 3, 3), f"{prefix}{place}.bias": blank(filters)}
        channels = filters
    return state


def resnet(prefix, blocks, names=("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")):
    state = {}

    def add(convolution, normalisation, *shape):
        state[f"{prefix}{convolution}.weight"] = blank(*shape)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{prefix}{normalisation}.{part}"] = blank(shape[0])

    add(*names[:2], 64, 3, 7, 7)
    channels = 64
    for stage, count in enumerate(blocks):
        filters = 64 * 2**stage
        for i in range(count):
            block = f"{names[2 + stage]}.{i}"
            add(f"{block}.conv1", f"{block}.bn1", filters, channels, 1, 1)
            add(f"{block}.conv2", f"{block}.bn2", filters, filters, 3, 3)
            add(f"{block}.conv3", f"{block}.bn3", 4 * filters, filters, 1, 1)
            if i == 0:
                add(f"{block}.downsample.0", f"{block}.downsample.1", 4 * filters, channels, 1, 1)
            channels = 4 * filters
    return state


def netvlad(prefix, clusters=8, channels=512):
    return {f"{prefix}conv.weight": blank(clusters, channels, 1, 1), f"{prefix}centroids": blank(clusters, channels)}


def read(layout, state, **options):
    state = state if isinstance(state, StateDict) else StateDict(state, "weights.pth")
    assert layout.matches(state)
    return layout.read(state, **options)


@pytest.fixture(scope="module")
def alexnet_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    random = np.random.RandomState(3)
    write_torch(path, {key: random.normal(size=a.shape).astype("float32") for key, a in alexnet("features.").items()})
    return path


# Backbones


@pytest.mark.parametrize("name", RESNETS)
@pytest.mark.parametrize("stages", [3, 4])
def test_residual_networks_are_told_by_their_blocks_also_without_the_last_stage(name, stages):
    blocks = RESNETS[name][:stages]
    state = resnet("backbone.", blocks, names=("0", "1", "4", "5", "6", "7"))
    imported = read(vgb, {**state, **netvlad("aggregation.", channels=256 * 2 ** (stages - 1))})
    assert (imported.backbone, imported.cut) == (name, f"conv{stages + 1}_block{blocks[-1]}_out")
    assert imported.relu
    assert len(imported.layers) == 2 * (1 + 3 * sum(blocks) + stages) + 1


@pytest.mark.parametrize("blocks", [(3, 8, 36, 3), (3, 4, 5), (3, 4)])
def test_other_residual_networks_are_refused(blocks):
    with pytest.raises(
        ValueError, match=r"resnet50 or resnet101, at least up to conv4_x\. Received: a residual network"
    ):
        read(torchvision, resnet("", blocks))


def test_other_networks_are_refused():
    with pytest.raises(
        ValueError, match=r"VGG16, AlexNet, ResNet-50 or ResNet-101\. Not taken yet, 1 arrays: features.0"
    ):
        read(torchvision, {"features.0.weight": blank(32, 3, 3, 3)})


def test_kernels_are_transposed():
    state = alexnet("features.")
    weight = np.random.RandomState(0).normal(size=(64, 3, 11, 11)).astype("float32")
    kernel, _ = read(torchvision, {**state, "features.0.weight": weight}).layers["conv1"]
    assert kernel[7, 2, 1, 60] == weight[60, 1, 7, 2]


def test_backbone_of_any_layout_is_taken_by_build(alexnet_file):
    model = build("alexnet_mac", weights=alexnet_file)
    for name, (kernel, bias) in backbone_weights(alexnet_file).layers.items():
        np.testing.assert_array_equal(model.get_layer(name).get_weights()[0], kernel)
        np.testing.assert_array_equal(model.get_layer(name).get_weights()[1], bias)
    np.testing.assert_allclose(model.get_layer("preprocessing").mean, [123.675, 116.28, 103.53])


@pytest.mark.parametrize("name", ["vd16_pitts30k", "vd16_pitts30k.index", ""])
def test_checkpoint_of_tensorflow_is_told_by_its_files(tmp_path, monkeypatch, name):
    (tmp_path / "vd16_pitts30k.index").touch()
    monkeypatch.setattr(netvlad_tf, "read", lambda path: path)
    assert backbone_weights(tmp_path / name) == tmp_path / name


# What the layouts do not say


def test_pooling_without_weights_is_named_by_the_preset(alexnet_file):
    with pytest.raises(
        ValueError, match="`preset` must name the pooling, .* preset='alexnet_mac'. Received: preset=None"
    ):
        load_weights_from(alexnet_file)
    assert load_weights_from(alexnet_file, preset="alexnet_gem").name == "alexnet_gem"


def test_preset_must_fit_the_file(alexnet_file):
    with pytest.raises(ValueError, match="`preset` must fit the file, which holds alexnet with any pooling"):
        load_weights_from(alexnet_file, preset="vgg16_mac")


@pytest.mark.parametrize("option", [{"pca": "pca.h5"}, {"whitening": ("retrieval-SfM-120k", "ss")}, {"l2": "none"}])
def test_options_of_other_layouts_are_refused(alexnet_file, option):
    name = next(iter(option))
    with pytest.raises(ValueError, match=f"`{name}` must be None for torchvision. Received: {name}="):
        load_weights_from(alexnet_file, preset="alexnet_mac", **option)


def test_unknown_file_is_answered_with_what_it_holds_and_what_is_understood(tmp_path):
    write_torch(tmp_path / "odd.pth", {"head.weight": np.zeros((2, 3), "float32")})
    with pytest.raises(ValueError, match=r"OpenIBL .*torchvision .*1 arrays: head.weight \(2, 3\)\. Received: path="):
        load_weights_from(tmp_path / "odd.pth")
    (tmp_path / "odd.txt").write_text("weights")
    with pytest.raises(
        ValueError, match="`path` must be a file of `torch.save`, a .mat file or a checkpoint of Tensor"
    ):
        load_weights_from(tmp_path / "odd.txt")
    with h5py.File(tmp_path / "model.weights.h5", "w"):
        pass
    with pytest.raises(ValueError, match=r"HDF5 \(\.h5\) are for `build\(weights=...\)`. Received: path="):
        load_weights_from(tmp_path / "model.weights.h5")
    with pytest.raises(FileNotFoundError, match="`path` must name an existing file, or the prefix of a checkpoint"):
        load_weights_from(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("layout", "prefix", "rest"),
    [
        (openibl, "base_model.base.", netvlad("net_vlad.")),
        (nanne, "encoder.", netvlad("pool.")),
        (vgb, "backbone.", netvlad("aggregation.")),
        (torchvision, "features.", {}),
    ],
)
def test_every_missing_or_unknown_array_is_named(layout, prefix, rest):
    state = {**vgg16(prefix), **rest}
    read(layout, state)
    for key in list(state)[1:]:
        without = {other: array for other, array in state.items() if other != key}
        with pytest.raises(ValueError, match=key.replace(".", r"\.") + "|this one has more"):
            read(layout, without)
    with pytest.raises(ValueError, match="this one has more. Not taken yet, 1 arrays: extra.weight"):
        read(layout, {**state, "extra.weight": blank(1)})


def test_whitening_of_patch_netvlad_needs_its_netvlad():
    state = {**alexnet("encoder."), "WPCA.0.weight": blank(8, 256, 1, 1), "WPCA.0.bias": blank(8)}
    with pytest.raises(
        ValueError, match=r"with the NetVLAD layer \(pool\.\*\) .* WPCA\.0\.\* whitens. Received: path="
    ):
        read(nanne, state)


def test_netvlad_with_a_layer_after_it_is_refused_which_the_benchmark_cannot_run():
    layer = {"aggregation.1.weight": blank(16, 256), "aggregation.1.bias": blank(16)}
    state = {**alexnet("backbone."), **netvlad("aggregation.0.", channels=256), **layer}
    with pytest.raises(ValueError, match=r"without a fully connected layer after NetVLAD \(--fc_output_dim\)"):
        read(vgb, state)


# OpenIBL's PCA


def test_pca_of_openibl_is_whitened_as_its_program_does(tmp_path):
    random = np.random.RandomState(1)
    dim = 5
    directions = random.normal(size=(4096, dim))
    variances = random.uniform(0.1, 1, dim)
    mean = random.normal(size=(4096, 1))
    x = random.normal(size=(3, 4096))
    with h5py.File(tmp_path / "pca.h5", "w") as file:
        for name, array in {"U": directions, "lams": variances, "mu": mean, "Utmu": directions.T @ mean}.items():
            file[name] = array
    imported = read(openibl, {**vgg16("base_model.base."), **netvlad("net_vlad.")}, pca=tmp_path / "pca.h5")
    projection, bias = imported.layers["whitening"]
    assert imported.dim == dim
    np.testing.assert_allclose(x @ projection + bias, (x - mean.T) @ directions / np.sqrt(variances), rtol=1e-4)


def test_pca_that_does_not_fit_is_refused(tmp_path):
    state = {**vgg16("base_model.base."), **netvlad("net_vlad.")}
    with pytest.raises(FileNotFoundError, match="`pca` must name an existing file"):
        read(openibl, state, pca=tmp_path / "none.h5")
    with h5py.File(tmp_path / "pca.h5", "w") as file:
        file["U"] = np.zeros((10, 2))
    with pytest.raises(ValueError, match="`pca` must be an HDF5 file with U, lams and mu"):
        read(openibl, state, pca=tmp_path / "pca.h5")
    with h5py.File(tmp_path / "pca.h5", "a") as file:
        file["lams"] = np.ones(2)
        file["mu"] = np.zeros((10, 1))
    with pytest.raises(ValueError, match=r"`pca` must hold U \(4096, dim\), .* Received: U \(10, 2\)"):
        read(openibl, state, pca=tmp_path / "pca.h5")
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["U"] = h5py.ExternalLink("pca.h5", "U")
    with pytest.raises(
        ValueError, match="`pca` must be an HDF5 file .* 'U' is a link by name, perhaps to another file"
    ):
        read(openibl, state, pca=tmp_path / "links.h5")
    with h5py.File(tmp_path / "texts.h5", "w") as file:
        file["U"] = np.zeros((10, 1), "S1")
    with pytest.raises(ValueError, match=r"'U' holds \|S1 where numbers are expected"):
        read(openibl, state, pca=tmp_path / "texts.h5")
    layer = {"pca_layer.weight": blank(2, 4096, 1, 1), "pca_layer.bias": blank(2)}
    with pytest.raises(ValueError, match="`pca` must be None where the file has a PCA layer"):
        read(openibl, {**state, **layer}, pca=tmp_path / "pca.h5")


# The VG benchmark's option --l2


@pytest.mark.parametrize(
    ("key", "fc", "l2", "local", "pooled"),
    [
        ("1.p", False, None, True, False),
        ("0.p", False, None, False, True),
        ("0.p", False, "none", False, False),
        ("0.0.p", True, "after_pool", False, True),
        ("0.0.p", True, "none", False, False),
        ("0.0.p", True, None, False, None),
        ("0.1.p", True, None, True, False),
    ],
)
def test_place_of_gem_tells_what_is_normalised(key, fc, l2, local, pooled):
    head = {f"aggregation.{key}": blank(1)}
    if fc:
        head |= {"aggregation.1.weight": blank(9, 256), "aggregation.1.bias": blank(9)}
    imported = read(vgb, {**alexnet("backbone."), **head}, l2=l2)
    assert (imported.pooling, imported.local_l2, imported.pooled_l2) == ("gem", local, pooled)
    assert imported.dim == (9 if fc else None)
    assert not imported.relu


def test_l2_must_fit_the_file():
    with pytest.raises(ValueError, match="`l2` must be one of before_pool for this file. Received: l2='none'"):
        read(vgb, {**alexnet("backbone."), "aggregation.1.p": blank(1)}, l2="none")
    with pytest.raises(ValueError, match="`l2` must be one of before_pool, after_pool, none. Received: l2='yes'"):
        read(vgb, alexnet("backbone."), pooling="mac", l2="yes")


def test_l2_must_be_told_where_it_matters(tmp_path):
    write_torch(tmp_path / "vgb.pth", {"model_state_dict": alexnet("backbone.")})
    with pytest.raises(
        ValueError, match="`l2` must be one of .*, which the file does not tell for mac. Received: l2=N"
    ):
        load_weights_from(tmp_path / "vgb.pth", preset="alexnet_mac")
    assert backbone_weights(tmp_path / "vgb.pth").backbone == "alexnet"


def test_descriptor_is_projected_unnormalised_where_the_original_does_so(tmp_path):
    head = {"aggregation.0.1.p": blank(1), "aggregation.1.weight": blank(9, 256), "aggregation.1.bias": blank(9)}
    write_torch(tmp_path / "vgb.pth", {"model_state_dict": {**alexnet("backbone."), **head}})
    model = load_weights_from(tmp_path / "vgb.pth")
    assert not model.get_layer("gem").normalize
    assert not antialiases(model)  # Its program resizes tensors.


# cirtorch's meta


def cirtorch_state(rest=(), **meta):
    meta = {"architecture": "alexnet", "pooling": "mac", "mean": [0.5, 0.25, 0], "std": [1, 1, 1], **meta}
    return StateDict({"meta": meta, "state_dict": {**alexnet("features."), **dict(rest)}}, "weights.pth")


def test_preprocessing_of_cirtorch_is_read():
    imported = read(cirtorch, cirtorch_state())
    assert imported.preprocessing == {"mean": (127.5, 63.75, 0), "std": (255, 255, 255)}
    assert imported.relu


@pytest.mark.parametrize("meta", [{"local_whitening": True}, {"regional": True, "pooling": "gem"}, {"pooling": "vlad"}])
def test_what_no_layer_does_is_refused(meta):
    with pytest.raises(ValueError, match="regional only for mac, and without local whitening. Received: pooling="):
        read(cirtorch, cirtorch_state(**meta))


def test_learned_whitening_must_be_in_the_file_and_fit():
    with pytest.raises(ValueError, match="`whitening` must be one of none at all. Received: whitening="):
        read(cirtorch, cirtorch_state(), whitening=("retrieval-SfM-120k", "ss"))
    learned = {"retrieval-SfM-120k": {"ss": {"m": np.zeros((9, 1)), "P": np.eye(9)}}}
    with pytest.raises(ValueError, match=r"must be one of \[\('retrieval-SfM-120k', 'ss'\)\]. Received: whitening=\("):
        read(cirtorch, cirtorch_state(Lw=learned), whitening=("retrieval-SfM-30k", "ss"))
    with pytest.raises(ValueError, match=r"`whitening` must be one for 256 channels. Received: m \(9, 1\), P \(9, 9\)"):
        read(cirtorch, cirtorch_state(Lw=learned), whitening=("retrieval-SfM-120k", "ss"))
    layer = {"whiten.weight": blank(256, 256), "whiten.bias": blank(256)}
    with pytest.raises(
        ValueError, match="`whitening` must be None where the network has a whitening among its weights"
    ):
        read(cirtorch, cirtorch_state(layer, Lw=learned), whitening=("retrieval-SfM-120k", "ss"))


@pytest.mark.parametrize("part", ["mean", "std"])
@pytest.mark.parametrize("value", [None, [0.5, 0.5], ["0.5"] * 3, 0.5, [[1, 2, 3]] * 3, [10**400] * 3, [np.nan] * 3])
def test_mean_and_std_of_cirtorch_must_be_three_numbers(part, value):
    with pytest.raises(ValueError, match=rf"whose meta has a '{part}' of three numbers, in 0..1. Received: {part}="):
        read(cirtorch, cirtorch_state(**{part: value}))


@pytest.mark.parametrize("learned", [None, [], {"a": None}, {"a": {"ss": None}}, {"a": {"ss": {"m": np.zeros(1)}}}])
def test_learned_whitening_of_an_odd_form_counts_as_none(learned):
    with pytest.raises(ValueError, match="`whitening` must be one of none at all. Received: whitening="):
        read(cirtorch, cirtorch_state(Lw=learned), whitening=("a", "ss"))


@pytest.mark.parametrize("part", ["mean", "std", "pooling", "regional", "Lw"])
def test_text_of_lists_that_hold_one_another_is_never_made(part):
    nested = []
    for _ in range(40):
        nested = [nested, nested]  # As text they would have 2 ** 40 elements.
    value = {"a": {"ss": {"m": nested, "P": nested}}} if part == "Lw" else nested
    with pytest.raises(ValueError, match="Received: ") as error:
        read(cirtorch, cirtorch_state(**{part: value, "local_whitening": part == "regional"}), whitening=("a", "ss"))
    assert len(str(error.value)) < 500


def test_rule_of_normalisation_is_of_netvlad_alone(tmp_path):
    write_torch(tmp_path / "weights.pth", alexnet("features."))
    with pytest.raises(ValueError, match="`normalization` must be None for mac: only NetVLAD has it. Received: n"):
        load_weights_from(tmp_path / "weights.pth", preset="alexnet_mac", normalization="torch")
