"""Inputs that make_local_features_oracle.py and the tests of local features share: made anew, never stored."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS = ("100_7100.jpg", "100_7101.jpg")
KEYPOINTS = 128
SHARPER = {"keypoint_head.3": 4.0, "input_proj": 3.0, "final_proj": 3.0}
"""Factors of random weights, without which no keypoint and no match would be probable enough."""


def photos(data: Path) -> list[np.ndarray]:
    """Two photographs of sceaux_castle, uint8, every fifth pixel, so that nothing is interpolated; the sides of one
    are no multiples of 32, those of the other are."""
    first, second = (
        np.asarray(Image.open(data / "sceaux_castle" / "images" / name).convert("RGB"))[::5, ::5] for name in PHOTOS
    )
    return [np.ascontiguousarray(first[:186, :250]), np.ascontiguousarray(second[:160, :224])]


def seeded_state(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Arrays for a state dict, random by their names."""
    return {name: _seeded(name, tuple(shape)) for name, shape in shapes.items()}


def _seeded(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()))
    last = name.split(".")[-1]
    if last == "num_batches_tracked":
        return np.asarray(7, "int64")
    if last in ("running_mean", "bias"):
        return random.normal(0, 0.1, shape).astype("float32")
    if last == "running_var":
        return random.uniform(1, 2.5, shape).astype("float32")
    if len(shape) == 1:
        return random.uniform(0.3, 0.7, shape).astype("float32")
    spread = next((spread for part, spread in SHARPER.items() if part in name), 1.0)
    return (spread * np.sqrt(2 / np.prod(shape[1:])) * random.standard_normal(shape)).astype("float32")


def moved_features() -> list[tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """Keypoints, descriptors and (height, width) of a picture and of another, where 60 of 80 are moved, turned and a
    little changed, in another order: random networks give real photos' keypoints descriptors that are nearly alike."""
    random = np.random.RandomState(0)
    keypoints = random.uniform(10, 190, (80, 2)).astype("float32")
    descriptors = random.standard_normal((80, 64)).astype("float32")
    order = random.permutation(80)
    moved = (0.9 * keypoints[:, ::-1] + 5)[order]
    changed = (descriptors + 0.3 * random.standard_normal((80, 64)))[order].astype("float32")
    changed[60:] = random.standard_normal((20, 64))
    pictures = [(keypoints, descriptors, (200, 240)), (moved, changed, (210, 200))]
    return [(points, each / np.linalg.norm(each, axis=1, keepdims=True), size) for points, each, size in pictures]
