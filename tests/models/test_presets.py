import pytest

from keras_sare.layers import ImagePreprocessing
from keras_sare.models import BACKBONES, POOLINGS, PREPROCESSING, PRESETS, build, list_presets


def test_every_backbone_goes_with_every_pooling():
    assert {"vgg16", "resnet50", "dinov2"} <= set(BACKBONES)
    assert list(POOLINGS) == ["netvlad", "mac", "spoc", "gem", "rmac", "crow", "mixvpr", "convap", "salad"]
    assert set(PRESETS) == {f"{backbone}_{pooling}" for backbone in BACKBONES for pooling in POOLINGS}
    assert all(PRESETS[name].name == name for name in PRESETS)


def test_backbones_name_a_preprocessing_that_the_layer_takes():
    assert all({parts.preprocessing, *parts.others} <= PREPROCESSING.keys() for parts in BACKBONES.values())
    for arguments in PREPROCESSING.values():
        assert (
            ImagePreprocessing(**arguments).get_config().items()
            >= {
                "mean": arguments["mean"],
                "std": arguments["std"],
            }.items()
        )


@pytest.mark.parametrize(
    ("name", "cut", "relu"),
    [
        # Arandjelovic et al.; pytorch-NetVlad and the VG benchmark cut AlexNet likewise.
        ("vgg16_netvlad", "conv5_3", False),
        ("alexnet_netvlad", "conv5", False),
        # cnnimageretrieval-pytorch.
        ("vgg16_mac", "conv5_3", True),
        ("alexnet_gem", "conv5", True),
        ("resnet101_gem", "conv5_block3_out", True),
        # The VG benchmark's resnet50conv4, MixVPR's and Conv-AP's code.
        ("resnet50_netvlad", "conv4_block6_out", True),
        ("resnet101_mixvpr", "conv4_block23_out", True),
        ("resnet50_convap", "conv5_block3_out", True),
        # CroW's features are pool5.
        ("vgg16_crow", "pool5", True),
    ],
)
def test_preset_is_cut_where_the_published_code_cuts_it(name, cut, relu):
    assert (PRESETS[name].cut, PRESETS[name].relu) == (cut, relu)


def test_published_sizes_are_the_defaults():
    assert PRESETS["resnet50_mixvpr"].options == PRESETS["resnet50_convap"].options == {"channels": 1024}
    assert PRESETS["mobilenet_v3_mixvpr"].options == {"channels": 112}
    assert PRESETS["resnet50_gem"].options == {}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("vgg16_netvald", "'vgg16_netvlad'"),
        ("resnet50_gme", "'resnet50_gem'"),
        ("resnet_salad", "'resnet50_salad' or 'resnet101_salad'"),
        ("VGG16-NetVLAD", "'vgg16_netvlad'"),
    ],
)
def test_unknown_preset_is_answered_with_its_parts_and_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=r"`name` must be a backbone of vgg16, .* and a pooling of netvlad, ") as error:
        build(name)
    assert f"Did you mean {nearest}" in str(error.value)
    assert str(error.value).endswith(f"Received: name={name!r}")


def test_presets_are_listed_by_backbone_and_pooling():
    assert list_presets() == sorted(PRESETS)
    assert list_presets(pooling="netvlad") == sorted(f"{backbone}_netvlad" for backbone in BACKBONES)
    assert list_presets(backbone="vgg16") == sorted(f"vgg16_{pooling}" for pooling in POOLINGS)
    assert list_presets("resnet50", "gem") == ["resnet50_gem"]


@pytest.mark.parametrize("argument", ["backbone", "pooling"])
def test_unknown_backbone_or_pooling_to_list_is_refused(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be one of .*. Received: {argument}='vgg16_netvlad'"):
        list_presets(**{argument: "vgg16_netvlad"})
