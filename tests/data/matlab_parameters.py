"""Seeded parameters of VGG16 with NetVLAD and whitening, in the conventions of NetVLAD's MATLAB code.

The scripts that make the oracles give these to the public projects' own code; the tests write the same into files and
compare what is imported. Real are the convolutions (ImageNet, from KERAS_SARE_DATA or `--data`), the photographs and,
for VGG16's channels, k-means centres of photographs with the assignment made of them: netvlad_centres.npz, which
make_torch_weights_oracle.py wrote.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

CHANNELS = 512
CLUSTERS = 64
DIM = 64
STEP = 4
"""Photographs are thinned out by slicing, so that no resampling can differ."""
KEPT = 61
"""Every 61st element of a NetVLAD descriptor is stored; 61 meets all clusters and channels in either order."""
MEAN = np.array([0.485 * 255, 0.456 * 255, 0.406 * 255], "float32")


def photos(data: Path) -> list[np.ndarray]:
    """Three RGB photographs, uint8 [about 250, about 188, 3]."""
    files = sorted((data / "kitay_gorod" / "images").glob("*.jpg"))[::50][:3]
    return [np.asarray(Image.open(file).convert("RGB"))[::STEP, ::STEP] for file in files]


def convolutions(data: Path) -> dict[str, list[np.ndarray]]:
    """VGG16's [kernel H x W x in x out, bias] by name, for images 0..255 minus `MEAN`."""
    layers = {}
    with h5py.File(data / "weights" / "vgg16_imagenet_torchvision_notop.h5") as file:
        for block, count in enumerate((2, 2, 3, 3, 3), start=1):
            for i in range(1, count + 1):
                arrays = []
                file[f"block{block}_conv{i}"].visititems(
                    lambda _, item, arrays=arrays: arrays.append(item[()]) if isinstance(item, h5py.Dataset) else None
                )
                layers[f"conv{block}_{i}"] = sorted(arrays, key=lambda array: -array.ndim)
    std = np.array([0.229, 0.224, 0.225], "float32") * 255
    layers["conv1_1"][0] = layers["conv1_1"][0] / std[:, None]
    return layers


def clusters(count: int = CLUSTERS, channels: int = CHANNELS) -> dict[str, np.ndarray]:
    """`assignment` and `centres` [channels, clusters], and `bias` [clusters] for vladv2. Centres are not negated."""
    random = np.random.RandomState(5)
    assignment = random.normal(0, 3, (channels, count))
    centres = random.normal(0, 0.7 * channels**-0.5, (channels, count))
    if (count, channels) == (CLUSTERS, CHANNELS):
        stored = np.load(Path(__file__).with_name("netvlad_centres.npz"))
        centres = stored["64x512"].astype("float64").T
        assignment = stored["alpha_64x512"] * centres / np.linalg.norm(centres, axis=0)
    parts = {"assignment": assignment, "centres": centres, "bias": random.normal(0, 1, count)}
    return {name: array.astype("float32") for name, array in parts.items()}


def whitening(count: int = CLUSTERS * CHANNELS, dim: int = DIM) -> tuple[np.ndarray, np.ndarray]:
    """Projection [count, dim], its rows in MATLAB's order of descriptors, and bias [dim]."""
    random = np.random.RandomState(6)
    return random.normal(size=(count, dim)).astype("float32"), random.normal(0, 0.3, dim).astype("float32")


def network(backbone: dict[str, list[np.ndarray]], head: list[dict[str, Any]]) -> dict[str, Any]:
    """`net` as NetVLAD's loadNet, addLayers and addPCA make it. Lists stand for cell arrays."""
    layers: list[dict[str, Any]] = []
    for name, (kernel, bias) in backbone.items():
        if name.endswith("_1") and layers:
            pool = {"method": "max", "pool": np.array([[2, 2]]), "stride": 2, "pad": 0}
            layers.insert(-1, {"type": "pool", "name": f"pool{int(name[4]) - 1}", **pool})
        layers.append({"type": "conv", "name": name, "weights": [kernel, bias[None]], "stride": 1, "pad": 1})
        layers.append({"type": "relu", "name": f"relu{name[4:]}", "leak": 0})
    image = np.broadcast_to(MEAN, (224, 224, 3))
    return {"layers": [*layers[:-1], *head], "meta": {"normalization": {"averageImage": image}, "netID": "vd16"}}


def vlad_head(
    method: str = "vlad_preL2_intra", dim: int | None = DIM, count: int = CLUSTERS, channels: int = CHANNELS
) -> list[dict[str, Any]]:
    """The layers after the convolutions, with structs in place of the objects."""
    parts = clusters(count, channels)
    assignment, centres = (parts[name][None, None] for name in ("assignment", "centres"))
    core = [assignment, -centres] if "vladv2" not in method else [assignment, parts["bias"][None], -centres]
    l2 = {"type": "normalize", "param": np.array([[2 * channels, 1e-12, 1, 0.5]])}
    head = [{**l2, "name": "preL2"}] if "preL2" in method else []
    head += [{"type": "custom", "name": "vlad:core", "K": count, "D": channels, "weights": core}]
    head += [{**l2, "name": "vlad:intranorm"}] if "intra" in method else []
    head += [{"type": "custom", "name": "postL2"}]
    return head + (white_head(count * channels, dim) if dim else [])


def white_head(count: int, dim: int = DIM) -> list[dict[str, Any]]:
    """What addPCA appends."""
    projection, bias = whitening(count, dim)
    return [
        {"type": "conv", "name": "WPCA", "weights": [projection[None, None], bias[:, None]], "stride": 1, "pad": 0},
        {"type": "custom", "name": "finalL2"},
    ]


def for_savemat(value: Any) -> Any:
    """Lists as cell arrays 1 x n, for `scipy.io.savemat`."""
    if isinstance(value, dict):
        return {key: for_savemat(part) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    cells = np.empty((1, len(value)), object)
    for i, part in enumerate(value):
        cells[0, i] = for_savemat(part)
    return cells


def checkpoint_variables(backbone: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    """Variables of netvlad_tf_open's checkpoint by name."""
    parts = clusters()
    projection, bias = whitening()
    variables = {"average_rgb": MEAN}
    for name, arrays in {**backbone, "WPCA": [projection[None, None], bias]}.items():
        variables |= {f"{name}/kernel": arrays[0], f"{name}/bias": arrays[1]}
    variables["assignment/kernel"] = parts["assignment"][None, None]
    variables["cluster_centers"] = -parts["centres"][None, None, None]
    return {f"vgg16_netvlad_pca/{name}": array for name, array in variables.items()}
