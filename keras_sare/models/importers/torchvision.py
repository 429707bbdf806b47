"""State dicts of torchvision's networks, and of the networks of other projects that are made of their layers."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_sare.models.backbones import PREPROCESSING
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.imported import ImportedWeights

VGG16 = {
    **{0: "conv1_1", 2: "conv1_2", 5: "conv2_1", 7: "conv2_2", 10: "conv3_1", 12: "conv3_2", 14: "conv3_3"},
    **{17: "conv4_1", 19: "conv4_2", 21: "conv4_3", 24: "conv5_1", 26: "conv5_2", 28: "conv5_3"},
}
"""Place in torchvision's `features`, where ReLU and pooling count too, and the paper's name."""
ALEXNET = {0: "conv1", 3: "conv2", 6: "conv3", 8: "conv4", 10: "conv5"}
RESNETS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Number of blocks of each stage."""

_VGG16_SHAPES = [(64 * 2 ** min(stage, 3), 3) for stage, count in enumerate((2, 2, 3, 3, 3)) for _ in range(count)]
_ALEXNET_SHAPES = [(64, 11), (192, 5), (384, 3), (256, 3), (256, 3)]


class TorchBackbone(NamedTuple):
    """Weights of a torchvision network.

    Attributes:
        name: key of `keras_sare.models.BACKBONES`.
        layers: weights by the Keras layer's name, as its `set_weights` takes them.
        last: name of the Keras layer that its feature map comes from: a convolution, or the end of a block.
        channels: of the feature map.
    """

    name: str
    layers: dict[str, list[np.ndarray]]
    last: str
    channels: int


def read_backbone(state: StateDict, prefix: str) -> TorchBackbone:
    """Takes the convolutional part of VGG16, AlexNet, ResNet-50 or ResNet-101 out of a state dict.

    The children of a ResNet may be numbered, as in an `nn.Sequential` of them, and its last stage may be missing.

    Args:
        state: the state dict.
        prefix: of the names, for example "encoder.".

    Raises:
        ValueError: it is another network, or an array is missing or has an odd shape.
    """
    first = state.shape(f"{prefix}0.weight") or state.shape(f"{prefix}conv1.weight")
    if first == (64, 3, 3, 3):
        return TorchBackbone("vgg16", _sequential(state, prefix, VGG16, _VGG16_SHAPES), "conv5_3", 512)
    if first == (64, 3, 11, 11):
        return TorchBackbone("alexnet", _sequential(state, prefix, ALEXNET, _ALEXNET_SHAPES), "conv5", 256)
    if first == (64, 3, 7, 7):
        return _resnet(state, prefix)
    raise ValueError(
        f"`path` must be a file of VGG16, AlexNet, ResNet-50 or ResNet-101. {state.summary()} "
        f"Received: path={state.path!r}"
    )


def matches(state: StateDict) -> bool:
    """Whether the file holds a network of torchvision itself."""
    return "features.0.weight" in state or "layer1.0.conv1.weight" in state


def read(state: StateDict) -> ImportedWeights:
    """Reads a classification network of torchvision; its fully connected layers are left out.

    Raises:
        ValueError: it is another network, or an array is missing or has an odd shape.
    """
    backbone = read_backbone(state, "features." if "features.0.weight" in state else "")
    for classifier in ("classifier.", "fc."):
        state.drop(classifier)
    state.finish()
    return ImportedWeights(
        layout="torchvision",
        backbone=backbone.name,
        torchvision=True,
        preprocessing=PREPROCESSING["torch"],
        layers=backbone.layers,
    )


def kernel(weight: np.ndarray) -> np.ndarray:
    """Kernel of a Keras convolution [height, width, in, out] of torch's [out, in, height, width]."""
    return weight.transpose(2, 3, 1, 0)


def _sequential(
    state: StateDict, prefix: str, names: Mapping[int, str], shapes: list[tuple[int, int]]
) -> dict[str, list[np.ndarray]]:
    layers = {}
    channels = 3
    for (place, name), (filters, size) in zip(names.items(), shapes, strict=True):
        weight = state.take(f"{prefix}{place}.weight", filters, channels, size, size)
        layers[name] = [kernel(weight), state.take(f"{prefix}{place}.bias", filters)]
        channels = filters
    return layers


def _resnet(state: StateDict, prefix: str) -> TorchBackbone:
    numbered = f"{prefix}0.weight" in state
    places = ("0", "1", "4", "5", "6", "7") if numbered else ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    layers = _convolution(state, f"{prefix}{places[0]}", f"{prefix}{places[1]}", "conv1", (64, 3, 7))
    stages = [f"{prefix}{place}" for place in places[2:]]
    counts = tuple(_count_blocks(state, stage) for stage in stages)
    while counts and counts[-1] == 0:
        counts = counts[:-1]
    name = next((name for name, blocks in RESNETS.items() if len(counts) > 2 and blocks[: len(counts)] == counts), None)
    if name is None or f"{stages[0]}.0.conv3.weight" not in state:
        raise ValueError(
            f"`path` must be a file of {' or '.join(RESNETS)}, at least up to conv4_x. "
            f"Received: a residual network with {counts} blocks, path={state.path!r}"
        )
    channels = 64
    for i, count in enumerate(counts):
        filters = 64 * 2**i
        for block in range(count):
            torch = f"{stages[i]}.{block}"
            keras = f"conv{i + 2}_block{block + 1}"
            shapes = [(filters, channels, 1), (filters, filters, 3), (4 * filters, filters, 1)]
            for part, shape in enumerate(shapes, start=1):
                layers |= _convolution(state, f"{torch}.conv{part}", f"{torch}.bn{part}", f"{keras}_{part}", shape)
            if block == 0:
                down = f"{torch}.downsample"
                layers |= _convolution(state, f"{down}.0", f"{down}.1", f"{keras}_0", (4 * filters, channels, 1))
            channels = 4 * filters
    return TorchBackbone(name, layers, f"conv{len(counts) + 1}_block{counts[-1]}_out", channels)


def _count_blocks(state: StateDict, stage: str) -> int:
    count = 0
    while f"{stage}.{count}.conv1.weight" in state:
        count += 1
    return count


def _convolution(
    state: StateDict, convolution: str, normalisation: str, name: str, shape: tuple[int, int, int]
) -> dict[str, list[np.ndarray]]:
    filters, channels, size = shape
    weight = state.take(f"{convolution}.weight", filters, channels, size, size)
    parts = [
        state.take(f"{normalisation}.{part}", filters) for part in ("weight", "bias", "running_mean", "running_var")
    ]
    # A counter of training steps, which torch before 0.4 did not keep.
    state.drop(f"{normalisation}.num_batches_tracked")
    return {f"{name}_conv": [kernel(weight)], f"{name}_bn": parts}
