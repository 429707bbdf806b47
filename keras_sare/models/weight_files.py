"""Files that hold the convolutions of a backbone."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

KNOWN_PREPROCESSING = {
    # SHA-256 of the arrays themselves (see `digest`), so that the container does not matter.
    # torchvision's VGG16_Weights.IMAGENET1K_V1, features.*
    "37844b3458447f8833acc782622c138c7b78d81d013fece4e13182e436ae5299": "torch",
}


@dataclass(frozen=True)
class ConvolutionWeights:
    """Kernels and biases of consecutive convolutions.

    Attributes:
        arrays: (kernel [height, width, in, out], bias [out]) of each convolution, float32, from input to output.
        preprocessing: what the weights want, "caffe" or "torch".
        source: file or download that they come from, for messages.
    """

    arrays: list[tuple[np.ndarray, np.ndarray]]
    preprocessing: str
    source: str


def digest(arrays: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """SHA-256 over the float32 bytes of all kernels and biases in order."""
    sha = hashlib.sha256()
    for pair in arrays:
        for array in pair:
            sha.update(np.ascontiguousarray(array, "<f4").tobytes())
    return sha.hexdigest()


def read_convolutions(path: str | os.PathLike[str], preprocessing: str | None = None) -> ConvolutionWeights:
    """Reads the convolutions of a `.h5` file in keras.applications' layout or of a `.npz` that this package wrote.

    Args:
        path: the file.
        preprocessing: "caffe" or "torch"; may be None where the weights are known ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no convolutions, or its preprocessing is neither known nor given.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`weights` must name an existing file. Received: weights={str(path)!r}")
    if path.suffix not in (".h5", ".npz"):
        raise ValueError(f"`weights` must be a .h5, .npz or .weights.h5 file. Received: weights={str(path)!r}")
    try:
        arrays = _read_npz(path) if path.suffix == ".npz" else _read_h5(path)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            "`weights` must hold convolutions as keras.applications stores them (groups with a kernel [height, width, "
            f"in, out] and a bias [out]): {error}. Received: weights={str(path)!r}"
        ) from error
    preprocessing = preprocessing or KNOWN_PREPROCESSING.get(digest(arrays))
    if preprocessing is None:
        raise ValueError(
            "`preprocessing` must be given for weights that are not known: 'caffe' where they come from "
            f"keras.applications, 'torch' where they come from torchvision. Received: weights={str(path)!r}"
        )
    return ConvolutionWeights(arrays, preprocessing, str(path))


def write_npz(path: str | os.PathLike[str], arrays: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Writes convolutions so that `read_convolutions` reads them back."""
    named: dict[str, Any] = {
        f"{i:03d}_{part}": array for i, pair in enumerate(arrays) for part, array in zip("kb", pair, strict=True)
    }
    np.savez(path, **named)


def set_convolutions(features: keras.Model, weights: ConvolutionWeights) -> None:
    """Copies convolutions into the convolution layers of `features`, in order.

    Raises:
        ValueError: number or shapes differ: the file belongs to another network.
    """
    layers = [layer for layer in features.layers if isinstance(layer, keras.layers.Conv2D)]
    expected = [tuple(layer.kernel.shape) for layer in layers]
    received = [kernel.shape for kernel, _ in weights.arrays]
    if expected != received:
        position = next((i for i, (a, b) in enumerate(zip(expected, received, strict=False)) if a != b), None)
        where = (
            f"{len(received)} convolutions instead of {len(expected)}"
            if position is None
            else f"{layers[position].name} would get a kernel {received[position]} instead of {expected[position]}"
        )
        raise ValueError(
            f"`weights` must hold the {len(expected)} convolutions of {layers[0].name} to {layers[-1].name}; these "
            f"belong to another network: {where}. Received: weights={weights.source!r}"
        )
    for layer, (kernel, bias) in zip(layers, weights.arrays, strict=True):
        layer.set_weights([kernel, bias])


def _read_npz(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    with np.load(path, allow_pickle=False) as archive:
        return [(archive[f"{i:03d}_k"], archive[f"{i:03d}_b"]) for i in range(len(archive.files) // 2)]


def _read_h5(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        groups = [root[_text(name)] for name in root.attrs["layer_names"]]
        arrays = [[group[_text(name)][()] for name in group.attrs["weight_names"]] for group in groups]
    pairs = [(a[0], a[1]) for a in arrays if len(a) == 2 and a[0].ndim == 4 and a[1].ndim == 1]
    if not pairs:
        raise ValueError("it has no convolution")
    return pairs


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
