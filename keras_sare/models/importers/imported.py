"""What a file of another project holds, in this library's terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class ImportedWeights:
    """A network of another project, ready to be rebuilt by `keras_sare.models.assemble`.

    Attributes:
        layout: name of the layout that was recognised, for example "openibl".
        backbone: key of `keras_sare.models.BACKBONES`, for example "vgg16".
        torchvision: whether the backbone is torchvision's variant (for ResNet: strides in the 3x3 convolutions, no
            bias in convolutions).
        preprocessing: arguments of `keras_sare.layers.ImagePreprocessing`: mean and std in 0..255, bgr.
        layers: weights by Keras layer name ("conv1_1", "netvlad", "whitening"), in the order and layout of that
            layer's `get_weights()`.
        pooling: key of `keras_sare.models.POOLINGS`; None where the file holds a backbone only.
        options: arguments of the pooling layer, for example {"clusters": 64}.
        cut: last layer of the backbone; None for what the preset of this backbone and pooling says.
        relu: whether that layer keeps its ReLU; None likewise.
        dim: output dimension of the layer "whitening"; None where the network has none.
        end_to_end: whether that layer was trained with the network, so that it should go on training; otherwise it was
            fitted on descriptors.
        local_l2: whether local descriptors are L2-normalised before the pooling, by no layer of the pooling's own.
        pooled_l2: whether the pooled descriptor is L2-normalised; None where the file does not tell.
    """

    layout: str
    backbone: str
    torchvision: bool
    preprocessing: Mapping[str, Any]
    layers: Mapping[str, list[np.ndarray]]
    pooling: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    cut: str | None = None
    relu: bool | None = None
    dim: int | None = None
    end_to_end: bool = False
    local_l2: bool = False
    pooled_l2: bool | None = True
