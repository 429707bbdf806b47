"""Makes pooling_oracle.npz: descriptors by the public code of each pooling on seeded maps, to compare ours with.

It runs the projects' own code, from checkouts side by side in one folder, in an environment with torch:

    python tests/data/make_pooling_oracle.py --originals FOLDER

FOLDER holds cnnimageretrieval-pytorch (filipradenovic), pytorch-NetVlad (Nanne), OpenIBL (yxgeee) and crow (yahoo).
What it writes:

* `maps/<height>x<width>` [BATCH, height, width, CHANNELS], `centroids`, `sample`, `exponents`, `projection` and `bias`:
  the inputs;
* `<project>_<method>/<height>x<width>` [BATCH, dim]: the descriptors of the maps;
* `<project>_alpha`: what the initialisation of NetVLAD computes from `centroids` and `sample`;
* `regions` [regions, 5], uint8: height and width of a map and y, x and side of one of its regions, without the whole
  map, for maps of many sizes.
"""

import argparse
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

BATCH = 2
CHANNELS = 8
CLUSTERS = 5
SEED = 3
SIZES = ((12, 16), (7, 7), (9, 5))
GRID_SIZES = [(h, w) for h in range(1, 33) for w in range(1, 33)] + [(48, 64), (30, 40), (64, 48), (14, 40), (36, 20)]

Descriptors = Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]


def inputs() -> dict[str, np.ndarray]:
    """Feature maps after a ReLU and parameters of the layers, float32."""
    random = np.random.RandomState(SEED)
    sample = np.abs(random.normal(size=(200, CHANNELS)))
    arrays = {
        **{f"maps/{h}x{w}": np.maximum(random.normal(size=(BATCH, h, w, CHANNELS)), 0) for h, w in SIZES},
        "centroids": 0.3 * np.abs(random.normal(size=(CLUSTERS, CHANNELS))),
        "sample": sample / np.linalg.norm(sample, axis=1, keepdims=True),
        "exponents": random.uniform(1, 6, CHANNELS),
        "projection": random.normal(size=(CHANNELS, CHANNELS)),
        "bias": 0.1 * random.normal(size=CHANNELS),
    }
    return {name: array.astype("float32") for name, array in arrays.items()}


def of_torch(layer: Callable) -> Callable[[np.ndarray], np.ndarray]:
    """A layer of maps [batch, channels, height, width] as a function of maps with the channels last."""
    return lambda maps: layer(torch.tensor(maps.transpose(0, 3, 1, 2).copy())).detach().flatten(1).numpy()


def load(path: Path) -> types.ModuleType:
    """Imports one file, with scikit-learn replaced: what the projects want it for is not run here."""
    for name, attributes in {
        "preprocessing": ["normalize"],
        "decomposition": ["PCA"],
        "neighbors": ["NearestNeighbors"],
    }.items():
        module = types.ModuleType(f"sklearn.{name}")
        vars(module).update(dict.fromkeys(attributes))
        sys.modules[module.__name__] = module
    sys.modules["sklearn"] = types.ModuleType("sklearn")
    spec = importlib.util.spec_from_file_location(f"{path.stem}_of_{len(sys.modules)}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cirtorch(originals: Path, name: str) -> types.ModuleType:
    """Imports a module of cirtorch.layers without the package's own __init__, which imports data sets and networks."""
    package = types.ModuleType("cirtorch")
    package.__path__ = [str(originals / "cnnimageretrieval-pytorch" / "cirtorch")]
    sys.modules.setdefault("cirtorch", package)
    return importlib.import_module(f"cirtorch.layers.{name}")


def retrieval(originals: Path, arrays: dict[str, np.ndarray]) -> Descriptors:
    """Poolings of cirtorch, each followed by the L2 normalisation of its networks."""
    pooling = cirtorch(originals, "pooling")
    normalise = cirtorch(originals, "functional").l2n
    per_channel = pooling.GeMmp(mp=CHANNELS)
    per_channel.p.data = torch.tensor(arrays["exponents"])
    whitening = torch.nn.Linear(CHANNELS, CHANNELS)
    whitening.weight.data = torch.tensor(arrays["projection"].T)
    whitening.bias.data = torch.tensor(arrays["bias"])
    layers = {
        "mac": pooling.MAC(),
        "spoc": pooling.SPoC(),
        "gem": pooling.GeM(p=2.5),
        "gem_per_channel": per_channel,
        "rmac": pooling.RMAC(),
        "rmac_whitened": pooling.Rpool(pooling.MAC(), whitening),
    }
    for name, layer in layers.items():
        yield f"cirtorch_{name}", of_torch(lambda maps, layer=layer: normalise(layer(maps)))


def nanne(originals: Path, arrays: dict[str, np.ndarray]) -> Descriptors:
    """NetVLAD of pytorch-NetVlad; `vladv2` with the MATLAB code's assignment for alpha = 2, as Nanne's differs."""
    original = load(originals / "pytorch-NetVlad" / "netvlad.py")
    centroids = arrays["centroids"]
    for method, normalised in (("preL2_intra", True), ("intra", False)):
        layer = original.NetVLAD(CLUSTERS, CHANNELS, normalize_input=normalised)
        layer.init_params(centroids, arrays["sample"])
        arrays["nanne_alpha"] = np.float64(layer.alpha)
        yield f"nanne_vlad_{method}", of_torch(layer)
        biased = original.NetVLAD(CLUSTERS, CHANNELS, normalize_input=normalised, vladv2=True)
        biased.centroids.data = torch.tensor(centroids)
        biased.conv.weight.data = torch.tensor(4 * centroids)[:, :, None, None]
        biased.conv.bias.data = torch.tensor(-2 * np.sum(centroids**2, axis=1))
        yield f"nanne_vladv2_{method}", of_torch(biased)


def openibl(originals: Path, arrays: dict[str, np.ndarray]) -> Descriptors:
    """NetVLAD of OpenIBL inside its network, whose base model is the identity here."""
    original = load(originals / "OpenIBL" / "ibl" / "models" / "netvlad.py")
    layer = original.NetVLAD(CLUSTERS, CHANNELS)
    layer.clsts = arrays["centroids"]
    layer.traindescs = arrays["sample"]
    layer._init_params()
    arrays["openibl_alpha"] = np.float64(layer.alpha)
    network = original.EmbedNet(lambda maps: (None, maps), layer)
    yield "openibl_vlad_preL2_intra", of_torch(lambda maps: network(maps)[1])


def crow(originals: Path, _: dict[str, np.ndarray]) -> Descriptors:
    """CroW of one map at a time, L2-normalised as its evaluation does before whitening."""
    original = load(originals / "crow" / "crow.py")

    def descriptors(maps: np.ndarray) -> np.ndarray:
        sums = np.stack([original.apply_crow_aggregation(image) for image in maps.transpose(0, 3, 1, 2)])
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    yield "crow_crow", descriptors


def regions(originals: Path, height: int, width: int) -> np.ndarray:
    """R-MAC's regions: cirtorch pools a map of coordinates, so that a region's maxima tell where its sides are."""
    functional = cirtorch(originals, "functional")
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    sides = functional.roipool(torch.stack([-y, -x, y])[None], functional.mac)[0, 1:, :, 0, 0].numpy()
    side = sides[:, 2] + sides[:, 0] + 1
    return np.stack([np.full_like(side, height), np.full_like(side, width), -sides[:, 0], -sides[:, 1], side], axis=1)


def main() -> None:
    """Writes pooling_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=Path, required=True, help="folder of the checkouts")
    originals = parser.parse_args().originals.resolve()
    torch.set_num_threads(1)
    arrays = inputs()
    for project in (retrieval, nanne, openibl, crow):
        for name, descriptors in project(originals, arrays):
            for height, width in SIZES:
                arrays[f"{name}/{height}x{width}"] = descriptors(arrays[f"maps/{height}x{width}"]).astype("float32")
    arrays["regions"] = np.concatenate([regions(originals, h, w) for h, w in GRID_SIZES]).astype("uint8")
    np.savez_compressed(Path(__file__).with_name("pooling_oracle.npz"), **arrays)


if __name__ == "__main__":
    main()
