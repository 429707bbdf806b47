"""The models that `build` knows, as data: every backbone with every pooling."""

import difflib
import itertools
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A backbone, where it is cut and what pools its last feature map.

    Attributes:
        name: what `build` is asked for.
        backbone: name of the convolutional network.
        cut: name of the last layer that is kept.
        relu: whether the ReLU of that layer stays. NetVLAD pools what comes before it, MAC what comes after.
        pooling: name of the layer that makes a descriptor of the feature map.
        options: arguments of that layer, where they are not its defaults.
        source: the papers.
    """

    name: str
    backbone: str
    cut: str
    relu: bool
    pooling: str
    options: dict[str, Any]
    source: str


@dataclass(frozen=True)
class Cut:
    """Where a backbone ends.

    Attributes:
        layer: name of the last layer.
        channels: of its feature map.
        relu: whether its ReLU stays.
    """

    layer: str
    channels: int
    relu: bool = True


@dataclass(frozen=True)
class Cuts:
    """Where a backbone ends for each kind of pooling.

    Attributes:
        signed: for NetVLAD, which pools what comes before a ReLU, at stride 16.
        fine: for aggregators of a map of stride 16.
        deep: for poolings of the last map.
        pooled: for CroW, which pools the last map after the network's own last pooling.
        source: the paper.
    """

    signed: Cut
    fine: Cut
    deep: Cut
    pooled: Cut
    source: str


def _sequential(last: str, pool: str, channels: int, source: str) -> Cuts:
    """NetVLAD's, cirtorch's and CroW's own networks: one last convolution, and a pooling after it."""
    kept = Cut(last, channels)
    return Cuts(Cut(last, channels, relu=False), kept, kept, Cut(pool, channels), source)


def _staged(fine: Cut, deep: Cut, source: str) -> Cuts:
    """A network whose stages' ends are pooled as they are."""
    return Cuts(fine, fine, deep, deep, source)


_RESNET_END = Cut("conv5_block3_out", 2048)

BACKBONE_CUTS = {
    "vgg16": _sequential("conv5_3", "pool5", 512, "Simonyan, Zisserman, ICLR 2015"),
    "alexnet": _sequential("conv5", "pool5", 256, "Krizhevsky, arXiv 1404.5997"),
    # conv4 for NetVLAD as in the VG benchmark and for MixVPR as in its code; conv5 for GeM and MAC as in cirtorch and
    # for Conv-AP as in its code.
    "resnet50": _staged(Cut("conv4_block6_out", 1024), _RESNET_END, "He et al., CVPR 2016"),
    "resnet101": _staged(Cut("conv4_block23_out", 1024), _RESNET_END, "He et al., CVPR 2016"),
    # The end, as Conv-AP's code takes EfficientNet; for the finer map there is no code to follow: stride 16 as above.
    "mobilenet_v3": _staged(Cut("expanded_conv_11_add", 112), Cut("activation_19", 960), "Howard et al., ICCV 2019"),
    "efficientnet_v2_b0": _staged(Cut("block5e_add", 112), Cut("top_activation", 1280), "Tan, Le, ICML 2021"),
    "efficientnet_lite0": _staged(
        Cut("block5c_add", 112), Cut("top_activation", 1280), "Tan, Le, ICML 2019; Liu, TensorFlow blog 2020"
    ),
    "convnext_tiny": _staged(
        Cut("convnext_tiny_stage_2_out", 384), Cut("convnext_tiny_stage_3_out", 768), "Liu et al., CVPR 2022"
    ),
    # One map of stride 14, after the last normalisation, as in SALAD's code.
    "dinov2": _staged(Cut("dinov2", 768), Cut("dinov2", 768), "Oquab et al., TMLR 2024"),
}


@dataclass(frozen=True)
class Pooling:
    """What pools a feature map.

    Attributes:
        cut: attribute of `Cuts` that says where the backbone ends.
        source: the paper.
        projects: whether it has an argument `channels` for a projection of the map's channels.
    """

    cut: str
    source: str
    projects: bool = False


POOLING_CUTS = {
    "netvlad": Pooling("signed", "Arandjelovic et al., CVPR 2016; Liu, Li, Dai, ICCV 2019"),
    "mac": Pooling("deep", "Radenovic, Tolias, Chum, ECCV 2016"),
    "spoc": Pooling("deep", "Babenko, Lempitsky, ICCV 2015"),
    "gem": Pooling("deep", "Radenovic, Tolias, Chum, TPAMI 2019"),
    "rmac": Pooling("deep", "Tolias, Sicre, Jegou, ICLR 2016"),
    "crow": Pooling("pooled", "Kalantidis, Mellina, Osindero, ECCV Workshops 2016"),
    "mixvpr": Pooling("fine", "Ali-bey, Chaib-draa, Giguere, WACV 2023", projects=True),
    "convap": Pooling("deep", "Ali-bey, Chaib-draa, Giguere, Neurocomputing 2022", projects=True),
    "salad": Pooling("fine", "Izquierdo, Civera, CVPR 2024"),
}
PROJECTED_CHANNELS = 1024
"""Of the published MixVPR and Conv-AP; a map of fewer channels keeps its number."""


def _preset(backbone: str, pooling: str) -> Preset:
    cuts, head = BACKBONE_CUTS[backbone], POOLING_CUTS[pooling]
    cut: Cut = getattr(cuts, head.cut)
    return Preset(
        name=f"{backbone}_{pooling}",
        backbone=backbone,
        cut=cut.layer,
        relu=cut.relu,
        pooling=pooling,
        options={"channels": min(PROJECTED_CHANNELS, cut.channels)} if head.projects else {},
        source=f"{head.source}; {cuts.source}",
    )


PRESETS = {
    preset.name: preset for preset in (_preset(*pair) for pair in itertools.product(BACKBONE_CUTS, POOLING_CUTS))
}
"""Every model by name."""


def list_presets() -> list[str]:
    """Returns the names that `keras_sare.models.build` knows, sorted."""
    return sorted(PRESETS)


def find_preset(name: str) -> Preset:
    """Returns the preset called `name`.

    Raises:
        ValueError: there is none; the message lists the nearest names, the backbones and the poolings.
    """
    if name in PRESETS:
        return PRESETS[name]
    nearest = difflib.get_close_matches(name.lower().replace("-", "_"), PRESETS, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
    raise ValueError(
        f"`name` must be a backbone of {', '.join(BACKBONE_CUTS)}, an underscore and a pooling of "
        f"{', '.join(POOLING_CUTS)}.{hint} Received: name={name!r}"
    )
