"""Weights of other projects: which layout a file has, and what it holds."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_sare.models.importers import (
    cirtorch,
    efficientnet_lite,
    matconvnet,
    nanne,
    netvlad_tf,
    openibl,
    torchvision,
    vgb,
)
from keras_sare.models.importers.formats.state_dict import StateDict
from keras_sare.models.importers.formats.torch_file import is_torch_file, read_torch
from keras_sare.models.importers.imported import ImportedWeights

SUFFIXES = (".pth", ".pt", ".mat", ".tar")
"""Ends of the names of files of other frameworks."""


@dataclass(frozen=True)
class Layout:
    """One way in which networks are stored in a state dict of PyTorch.

    Attributes:
        matches: whether a state dict is laid out so.
        read: (state dict, options) -> its content.
        description: how its names look, for messages.
        options: what `read` takes beside the state dict.
    """

    matches: Callable[[StateDict], bool]
    read: Callable[..., ImportedWeights]
    description: str
    options: tuple[str, ...] = ()


LAYOUTS = (
    Layout(openibl.matches, openibl.read, "OpenIBL (base_model.base.*, net_vlad.*, pca_layer.*)", ("pca",)),
    Layout(vgb.matches, vgb.read, "the VG benchmark (backbone.*, aggregation.*)", ("pooling", "l2")),
    Layout(nanne.matches, nanne.read, "pytorch-NetVlad and Patch-NetVLAD (encoder.*, pool.*, WPCA.*)"),
    Layout(cirtorch.matches, cirtorch.read, "cirtorch (features.*, pool.*, whiten.* beside meta)", ("whitening",)),
    Layout(efficientnet_lite.matches, efficientnet_lite.read, "EfficientNet-Lite0 (_conv_stem.*, _blocks.*)"),
    Layout(torchvision.matches, torchvision.read, "torchvision (features.*, or conv1.*, layer1.*)"),
)
"""Every layout of a state dict, in the order in which they are tried."""


def is_foreign(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of another framework by its name."""
    return Path(path).suffix in SUFFIXES


def backbone_weights(path: str | os.PathLike[str]) -> ImportedWeights:
    """Reads weights of another project for their backbone. What the file holds beside it may be anything.

    Args:
        path: as for `keras_sare.models.load_weights_from`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the layout is unknown, or something is missing in the file or left over.
    """
    return read_layout(path, {})[0]


def read_layout(path: str | os.PathLike[str], options: Mapping[str, Any]) -> tuple[ImportedWeights, tuple[str, ...]]:
    """Reads weights of another project.

    Args:
        path: as for `keras_sare.models.load_weights_from`.
        options: of the layouts; the one that the file has takes its own and leaves the others.

    Returns:
        (the weights, names of the options that their layout takes).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the layout is unknown, or something is missing in the file or left over.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".index" or path.with_name(f"{path.name}.index").is_file():
        return netvlad_tf.read(path), ()
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must name an existing file, or the prefix of a checkpoint. Received: path={str(path)!r}"
        )
    if _is_matlab_file(path):
        return matconvnet.read(path), ()
    if not is_torch_file(path):
        raise ValueError(
            "`path` must be a file of `torch.save`, a .mat file or a checkpoint of TensorFlow 1; weights in HDF5 (.h5) "
            f"are for `build(weights=...)`. Received: path={str(path)!r}"
        )
    state = StateDict(read_torch(path), str(path))
    layout = next((layout for layout in LAYOUTS if layout.matches(state)), None)
    if layout is None:
        raise ValueError(
            f"`path` must be a file of {', '.join(layout.description for layout in LAYOUTS)}. {state.summary()} "
            f"Received: path={str(path)!r}"
        )
    taken = {name: options[name] for name in layout.options if name in options}
    return layout.read(state, **taken), layout.options


def _is_matlab_file(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(6) == b"MATLAB"
