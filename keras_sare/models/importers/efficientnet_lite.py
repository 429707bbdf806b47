"""State dicts of EfficientNet-Lite0 as ML Illustrated's PyTorch package has it, with TensorFlow's own weights."""

import numpy as np

from keras_sare.models.backbones import PREPROCESSING
from keras_sare.models.backbones.efficientnet_lite0 import HEAD, STEM, Block, blocks
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.torchvision import kernel


def matches(state: StateDict) -> bool:
    """Whether the file holds an EfficientNet of this package, or of the one that it was made from."""
    return "_conv_stem.weight" in state


def read(state: StateDict) -> ImportedWeights:
    """Reads the classification network EfficientNet-Lite0; its fully connected layer is left out.

    Raises:
        ValueError: it is another EfficientNet, or an array is missing or has an odd shape.
    """
    layers = {"stem_conv": [kernel(state.take("_conv_stem.weight", STEM, 3, 3, 3))]}
    layers["stem_bn"] = _normalisation(state, "_bn0", STEM)
    for i, block in enumerate(blocks()):
        layers |= _block(state, f"_blocks.{i}", block)
        channels = block.filters
    layers["top_conv"] = [kernel(state.take("_conv_head.weight", HEAD, channels, 1, 1))]
    layers["top_bn"] = _normalisation(state, "_bn1", HEAD)
    state.drop("_fc.")
    state.finish()
    return ImportedWeights(
        layout="efficientnet_lite",
        backbone="efficientnet_lite0",
        torchvision=False,
        preprocessing=PREPROCESSING["efficientnet_lite"],
        layers=layers,
    )


def _block(state: StateDict, prefix: str, block: Block) -> dict[str, list[np.ndarray]]:
    layers = {}
    inside = block.expanded
    if inside > block.channels:
        weight = state.take(f"{prefix}._expand_conv.weight", inside, block.channels, 1, 1)
        layers[f"{block.name}_expand_conv"] = [kernel(weight)]
        layers[f"{block.name}_expand_bn"] = _normalisation(state, f"{prefix}._bn0", inside)
    # torch: [channels, 1, height, width]; Keras: [height, width, channels, 1].
    weight = state.take(f"{prefix}._depthwise_conv.weight", inside, 1, block.size, block.size)
    layers[f"{block.name}_dwconv"] = [weight.transpose(2, 3, 0, 1)]
    layers[f"{block.name}_bn"] = _normalisation(state, f"{prefix}._bn1", inside)
    weight = state.take(f"{prefix}._project_conv.weight", block.filters, inside, 1, 1)
    layers[f"{block.name}_project_conv"] = [kernel(weight)]
    layers[f"{block.name}_project_bn"] = _normalisation(state, f"{prefix}._bn2", block.filters)
    return layers


def _normalisation(state: StateDict, name: str, channels: int) -> list[np.ndarray]:
    arrays = [state.take(f"{name}.{part}", channels) for part in ("weight", "bias", "running_mean", "running_var")]
    state.drop(f"{name}.num_batches_tracked")
    return arrays
