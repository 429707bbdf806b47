"""Time and memory of PCA whitening against scikit-learn's full PCA on the same descriptors.

    python benchmarks/pca_whitening.py

Each fit runs in a process of its own, so that the peak memory is its own; ours and scikit-learn's take turns.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from sklearn.decomposition import PCA

from keras_sare.whitening import fit_pca_whitening

FITS = {
    "keras_sare": lambda x, dim: fit_pca_whitening(x, dim),
    "scikit-learn, float64": lambda x, dim: PCA(dim, whiten=True, svd_solver="full").fit(x.astype(np.float64)),
    "scikit-learn, float32": lambda x, dim: PCA(dim, whiten=True, svd_solver="full").fit(x),
}


def measure(name: str, samples: int, features: int, dim: int) -> None:
    """Fits once and prints processor seconds, wall seconds and peak memory above that of the data."""
    x = np.random.default_rng(0).standard_normal((samples, features), dtype=np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processor = time.perf_counter(), time.process_time()
    FITS[name](x, dim)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{name:24s} {processor:7.1f} s processor {wall:7.1f} s wall {peak:7.0f} MiB", flush=True)


def main() -> None:
    """Runs every fit in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--features", type=int, default=8192)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.only:
        measure(flags.only, flags.samples, flags.features, flags.dim)
        return
    for _ in range(flags.rounds):
        for name in FITS:
            subprocess.run([sys.executable, *sys.argv, "--only", name], check=True)


if __name__ == "__main__":
    main()
