"""Time and memory of PCA whitening against scikit-learn's PCA and against a plain D x D covariance.

    python benchmarks/pca_whitening.py                                                        # a minute
    python benchmarks/pca_whitening.py --features=32768 --samples=10000 --dim=4096            # NetVLAD's size
    python benchmarks/pca_whitening.py --fits=batches,incremental_pca --memory_limit=5e8 --samples=10000 --dim=512

The descriptors lie in a float32 file; their variances fall as a power law, as those of real descriptors do. Each fit
runs in a process of its own, so that the peak memory (of the whole process, with the part of the file that it holds) is
its own. The last column is the largest relative error of a variance against the first fit.

The plain covariance takes the matrix of all features, as the MATLAB and Python originals do: it is run at the widths of
`--covariance` and extrapolated to `--features`, the product by the square of the width, the eigenvectors by its cube.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.linalg import eigh
from sklearn.decomposition import PCA, IncrementalPCA

from keras_sare.whitening import IncrementalPCAWhitening, fit_pca_whitening

BATCH = 512
DATA = "descriptors.f32"


def fit_batches(x: np.ndarray, flags: argparse.Namespace) -> np.ndarray:
    """Ours, in batches."""
    whitening = IncrementalPCAWhitening(flags.dim, flags.memory_limit)
    for start in range(0, len(x), BATCH):
        whitening.update(x[start : start + BATCH])
    return whitening.finish().eigenvalues


def fit_incremental_pca(x: np.ndarray, flags: argparse.Namespace) -> np.ndarray:
    """Scikit-learn's, in the smallest batches that it takes."""
    return IncrementalPCA(flags.dim, whiten=True, batch_size=flags.dim).fit(x).explained_variance_


def fit_pca(solver: str, dtype: type, x: np.ndarray, dim: int) -> np.ndarray:
    """Scikit-learn's, with all descriptors in memory."""
    return PCA(dim, whiten=True, svd_solver=solver, random_state=0).fit(np.array(x, dtype)).explained_variance_


FITS = {
    "ours": lambda x, flags: fit_pca_whitening(x, flags.dim, max_samples=len(x)).eigenvalues,
    "batches": fit_batches,
    "pca_auto_float32": lambda x, flags: fit_pca("auto", np.float32, x, flags.dim),
    "pca_full_float32": lambda x, flags: fit_pca("full", np.float32, x, flags.dim),
    "pca_full_float64": lambda x, flags: fit_pca("full", np.float64, x, flags.dim),
    "incremental_pca": fit_incremental_pca,
}


def write_descriptors(path: Path, samples: int, features: int) -> None:
    """Writes rows that are off the origin and whose variances fall as a power law with a floor."""
    random = np.random.default_rng(0)
    scale = (1 / np.sqrt(1 + np.arange(features)) + 0.01).astype(np.float32)
    with path.open("wb") as file:
        for start in range(0, samples, 1024):
            rows = random.standard_normal((min(1024, samples - start), features), dtype=np.float32)
            (rows * scale + 0.01).tofile(file)


def measure(flags: argparse.Namespace) -> None:
    """Fits once and prints what it took."""
    x = np.memmap(Path(flags.folder) / DATA, np.float32, "r").reshape(-1, flags.features)
    wall = time.perf_counter()
    before = processor_seconds()
    eigenvalues = FITS[flags.only](x, flags)
    wall = time.perf_counter() - wall
    processor = processor_seconds() - before
    np.save(Path(flags.folder) / f"{flags.only}.npy", eigenvalues)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"processor": processor, "wall": wall, "peak": peak}))


def processor_seconds() -> float:
    """Of all threads, in user and kernel mode."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def extrapolate_covariance(widths: list[int], samples: int, features: int) -> None:
    """Prints the seconds of a plain covariance in double precision at some widths and what they mean for `features`."""
    product = eigenvectors = 0.0
    for width in widths:
        x = np.random.default_rng(0).standard_normal((samples, width), dtype=np.float32).astype(np.float64)
        start = processor_seconds()
        covariance = x.T @ x
        middle = processor_seconds()
        eigh(covariance, driver="evd", overwrite_a=True)
        product = middle - start
        eigenvectors = processor_seconds() - middle
        row(f"covariance, D = {width}", product + eigenvectors, math.nan, 3 * 8 * width**2 / 2**30, math.nan)
    if widths:
        ratio = features / widths[-1]
        seconds = product * ratio**2 + eigenvectors * ratio**3
        row(f"covariance, D = {features}*", seconds, math.nan, 3 * 8 * features**2 / 2**30, math.nan)
        print(f"* extrapolated from D = {widths[-1]}; memory of covariances: three D x D matrices, by arithmetic")


def row(name: str, processor: float, wall: float, peak: float, error: float) -> None:
    """Prints a row of the table."""
    print(f"| {name:24s} | {processor:11.1f} | {wall:8.1f} | {peak:8.2f} | {error:8.1e} |", flush=True)


def main() -> None:
    """Runs every fit in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--features", type=int, default=8192)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--fits", default=",".join(FITS), help="Which, in this order.")
    parser.add_argument("--memory_limit", type=float, default=6e9, help="Bytes, for `batches`.")
    parser.add_argument("--covariance", default="1024,2048", help="Widths of the plain covariance; may be empty.")
    parser.add_argument("--folder", help="Where the descriptors are written; by default the temporary folder.")
    parser.add_argument("--only", choices=FITS, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.only:
        measure(flags)
        return
    print(f"{flags.samples} x {flags.features} float32 to {flags.dim} dimensions")
    print(
        "| fit                      | processor s | wall s   | peak GiB | error    |\n|---|---|---|---|---|", flush=True
    )
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        write_descriptors(Path(folder) / DATA, flags.samples, flags.features)
        names = flags.fits.split(",")
        for name in names:
            command = [sys.executable, *sys.argv, "--only", name, "--folder", folder]
            result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            exact, found = (np.load(Path(folder) / f"{one}.npy") for one in (names[0], name))
            row(name, **result, error=float(np.abs(found / exact - 1).max()))
    extrapolate_covariance(
        [int(width) for width in flags.covariance.split(",") if width], flags.samples, flags.features
    )


if __name__ == "__main__":
    main()
