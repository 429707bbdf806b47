"""The models that `build` knows, as data."""

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A backbone, where it is cut and what pools its last feature map.

    Attributes:
        name: what `build` is asked for.
        description: one line for people.
        backbone: name of the convolutional network.
        cut: name of the last layer that is kept.
        relu: whether the ReLU of that layer stays. NetVLAD pools what comes before it, MAC what comes after.
        pooling: "netvlad" or "mac".
        parameters: number of weights, with 64 clusters for NetVLAD.
        source: the paper.
    """

    name: str
    description: str
    backbone: str
    cut: str
    relu: bool
    pooling: str
    parameters: int
    source: str


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="vgg16_netvlad",
            description="VGG16 up to conv5_3 before its ReLU, NetVLAD with 64 clusters: 32768-D.",
            backbone="vgg16",
            cut="conv5_3",
            relu=False,
            pooling="netvlad",
            parameters=14_780_224,
            source="Arandjelovic et al., CVPR 2016; Liu, Li, Dai, ICCV 2019",
        ),
        Preset(
            name="vgg16_mac",
            description="VGG16 up to conv5_3 with its ReLU, global max pooling: 512-D.",
            backbone="vgg16",
            cut="conv5_3",
            relu=True,
            pooling="mac",
            parameters=14_714_688,
            source="Radenovic, Tolias, Chum, ECCV 2016",
        ),
    )
}


def find_preset(name: str) -> Preset:
    """Returns the preset called `name`.

    Raises:
        ValueError: there is none; the message lists all names and the nearest.
    """
    if name in PRESETS:
        return PRESETS[name]
    nearest = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"`name` must be one of {', '.join(sorted(PRESETS))}.{hint} Received: name={name!r}")
