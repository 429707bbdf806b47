"""Inputs that make_torch_weights_oracle.py and the tests of the importers share: made anew, never stored."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

PHOTOS = ("IMG_5628.jpg", "IMG_5631.jpg")
WIDEST = 4096
KEPT = 256
CENTRES = Path(__file__).with_name("netvlad_centres.npz")
"""K-means centres of photographs by their shape, "64x512", and the alpha of each by "alpha_64x512"."""


def photos(data: Path) -> np.ndarray:
    """Two photographs of kitay_gorod, uint8 [2, 160, 120, 3]: every sixth pixel, so that nothing is interpolated."""
    files = [data / "kitay_gorod" / "images" / name for name in PHOTOS]
    return np.stack([np.asarray(Image.open(file).convert("RGB"))[:960:6, :720:6] for file in files])


def seeded_state(shapes: Mapping[str, Sequence[int]], data: Path) -> dict[str, np.ndarray]:
    """Arrays for a state dict: ImageNet's convolutions for VGG16, `CENTRES`, everything else random by its name."""
    state = {name: _seeded(name, tuple(shape)) for name, shape in shapes.items()}
    convolutions = [name for name, shape in shapes.items() if len(shape) == 4 and shape[3] == 3]
    if state[convolutions[0]].shape == (64, 3, 3, 3):  # VGG16: the others begin with larger windows.
        with h5py.File(data / "weights" / "vgg16_imagenet_torchvision_notop.h5") as file:
            groups = [file[layer] for layer in file.attrs["layer_names"]]
            arrays = [group[name][()] for group in groups for name in group.attrs["weight_names"]]
        for name, kernel, bias in zip(convolutions, arrays[::2], arrays[1::2], strict=True):
            state[name] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
            state[name.replace("weight", "bias")] = bias
    for name in [name for name in state if name.endswith("centroids")]:
        state |= _clusters(name.removesuffix("centroids"), state)
    return state


def _clusters(prefix: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the projects make of k-means centres: assignments so sharp that photographs leave clusters empty."""
    shape = "x".join(map(str, state[f"{prefix}centroids"].shape))
    stored = np.load(CENTRES)
    centres = stored[shape].astype("float32")
    alpha = float(stored[f"alpha_{shape}"])
    norms = np.linalg.norm(centres, axis=1)
    clusters = {f"{prefix}centroids": centres}
    assignment = alpha * centres / norms[:, None]
    if f"{prefix}conv.bias" in state:
        assignment = 2 * alpha * centres
        clusters[f"{prefix}conv.bias"] = -alpha * norms
    return {**clusters, f"{prefix}conv.weight": assignment[:, :, None, None]}


def learned_whitening(channels: int) -> dict[str, np.ndarray]:
    """m [channels, 1] and P [channels, channels] as cirtorch keeps them, float64."""
    random = np.random.RandomState(channels)
    return {"m": 0.02 * random.normal(size=(channels, 1)), "P": random.normal(size=(channels, channels))}


def shortened(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors as they are stored: wide ones in 256 random directions, so that every element counts."""
    channels = descriptors.shape[1]
    if channels <= WIDEST:
        return descriptors
    return descriptors @ np.random.RandomState(channels).normal(size=(channels, KEPT)).astype("float32")


def _seeded(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()))
    last = name.split(".")[-1]
    if last == "num_batches_tracked":
        return np.asarray(7, "int64")
    if last == "p":
        return random.uniform(2, 4, shape).astype("float32")
    if last in ("running_mean", "bias"):
        return random.normal(0, 0.1, shape).astype("float32")
    if last == "centroids":
        return random.normal(0, 0.04, shape).astype("float32")
    if last == "running_var" or len(shape) == 1:
        return random.uniform(0.3, 0.7, shape).astype("float32")
    # Sharp assignments for NetVLAD, activations that keep their size for the others.
    spread = 1.5 if name.endswith(".conv.weight") else np.sqrt(2 / np.prod(shape[1:]))
    return (spread * random.standard_normal(shape)).astype("float32")
