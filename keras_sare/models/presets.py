"""The models that `build` knows, as data: every backbone with every pooling."""

import difflib
import itertools
from dataclasses import dataclass
from typing import Any

from keras_sare.models.backbones import BACKBONES
from keras_sare.models.backbones.shared.backbone import Cut
from keras_sare.utils.choices import check_choice


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
    parts = BACKBONES[backbone]
    head = POOLING_CUTS[pooling]
    cut: Cut = getattr(parts.cuts, head.cut)
    return Preset(
        name=f"{backbone}_{pooling}",
        backbone=backbone,
        cut=cut.layer,
        relu=cut.relu,
        pooling=pooling,
        options={"channels": min(PROJECTED_CHANNELS, cut.channels)} if head.projects else {},
        source=f"{head.source}; {parts.paper}",
    )


PRESETS = {preset.name: preset for preset in (_preset(*pair) for pair in itertools.product(BACKBONES, POOLING_CUTS))}
"""Every model by name."""


def list_presets(backbone: str | None = None, pooling: str | None = None) -> list[str]:
    """Names of the models that `keras_sare.models.build` knows, sorted.

    Args:
        backbone: key of `BACKBONES`, for those of one backbone; None for all.
        pooling: key of `POOLINGS`, for those of one pooling; None for all.

    Raises:
        ValueError: there is no such backbone or pooling.

    Example:

    >>> keras_sare.models.list_presets(pooling="netvlad")
    """
    for argument, value, known in (("backbone", backbone, BACKBONES), ("pooling", pooling, POOLING_CUTS)):
        if value is not None:
            check_choice(argument, value, known)
    return sorted(
        name
        for name, preset in PRESETS.items()
        if backbone in (None, preset.backbone) and pooling in (None, preset.pooling)
    )


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
        f"`name` must be a backbone of {', '.join(BACKBONES)}, an underscore and a pooling of "
        f"{', '.join(POOLING_CUTS)}.{hint} Received: name={name!r}"
    )
