"""Makes whitening_oracle.npz: whitenings fitted by the original code, which the tests compare with ours.

It runs `cirtorch/utils/whiten.py` of filipradenovic/cnnimageretrieval-pytorch and
`patchnetvlad/training_tools/tools.py` of QVPR/Patch-NetVLAD (its `pca` is a translation of NetVLAD's relja_PCA.m) from
checkouts of these repositories. Their files import torch, so it needs an environment with numpy, scipy and torch:

    python tests/data/make_whitening_oracle.py --originals FOLDER

What it writes, for the descriptors and pairs that `descriptors` and `pairs` draw (the tests draw the same):

* `lw_mean`, `lw_projection`, `lw_applied`: learned whitening; `lw_dead_*`: two channels are always zero;
  `lw_few_*`: unit vectors and fewer pairs than dimensions, so that 1e-10 is added to the diagonal;
* `cirtorch_pca_mean`, `cirtorch_pca_projection`, `cirtorch_pca_applied`: its PCA whitening;
* `primal_*`, `dual_*`: `u`, `lams` and `mu` of Patch-NetVLAD's PCA of more and of fewer samples than features.
"""

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np


def descriptors(seed: int, rows: int, features: int) -> np.ndarray:
    """Correlated descriptors away from the origin, float64 [rows, features]."""
    random = np.random.RandomState(seed)
    rotation = np.linalg.qr(random.standard_normal((features, features)))[0]
    scaled = random.standard_normal((rows, features)) * np.geomspace(1, 0.1, features)
    return scaled @ rotation + random.standard_normal(features)


def pairs(seed: int, count: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of queries and of their matches."""
    random = np.random.RandomState(seed)
    queries = random.randint(0, rows, count)
    return queries, (queries + random.randint(1, rows, count)) % rows


def load(path: Path) -> ModuleType:
    """Imports one file without its package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def learned(cirtorch: ModuleType, x: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Their learned whitening of `x`, whose columns are descriptors there."""
    mean, projection = cirtorch.whitenlearn(x.T, *pairs(1, count, len(x)))
    return {"mean": mean[:, 0], "projection": projection, "applied": cirtorch.whitenapply(x.T, mean, projection, 8).T}


def main() -> None:
    """Writes whitening_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--originals", type=Path, required=True, help="Folder of the checkouts.")
    originals = parser.parse_args().originals
    cirtorch = load(originals / "cnnimageretrieval-pytorch/cirtorch/utils/whiten.py")
    patch = load(originals / "Patch-NetVLAD/patchnetvlad/training_tools/tools.py")

    x = descriptors(0, 90, 14)
    dead = np.insert(x, [3, 9], 0, axis=1)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    oracle = {}
    for name, (samples, count) in {"lw": (x, 70), "lw_dead": (dead, 70), "lw_few": (unit, 9)}.items():
        oracle.update({f"{name}_{key}": value for key, value in learned(cirtorch, samples, count).items()})
    mean, projection = cirtorch.pcawhitenlearn(x.T)
    oracle["cirtorch_pca_mean"] = mean[:, 0]
    oracle["cirtorch_pca_projection"] = projection
    oracle["cirtorch_pca_applied"] = cirtorch.whitenapply(x.T, mean, projection, 8).T
    for name, samples in {"primal": descriptors(2, 90, 14), "dual": descriptors(3, 30, 50)}.items():
        oracle[f"{name}_u"], oracle[f"{name}_lams"], oracle[f"{name}_mu"] = patch.pca(samples, 10)
    np.savez_compressed(Path(__file__).with_name("whitening_oracle.npz"), **oracle)


if __name__ == "__main__":
    main()
