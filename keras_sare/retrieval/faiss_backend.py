"""The one place that imports faiss."""

import functools
import importlib.metadata
import logging
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

# Wheels of several makers unpack into the same `faiss` folder: the second one installed overwrites the first.
_PREFIXES = ("faiss-cpu", "faiss-gpu", "faiss-cuda")
_EXTRAS = "`pip install keras-sare[cpu]` or `pip install keras-sare[gpu]` (exactly one of the two)"
# faiss refuses to look for more neighbours than this on a GPU.
_LARGEST_GPU_K = 2048


def knn(queries: np.ndarray, database: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Searches exhaustively, on a GPU where faiss has one.

    Args:
        queries: float32 `[Q, D]`, C-ordered.
        database: float32 `[N, D]`, C-ordered.
        k: neighbours per query, 1 to N.

    Returns:
        Squared distances, float32 `[Q, k]`, and rows of the database, int64 `[Q, k]`, nearest first.

    Raises:
        ImportError: faiss is not installed, or twice.
        ValueError: a squared distance is beyond float32.
    """
    faiss = faiss_in_use()
    if k <= _LARGEST_GPU_K and faiss.get_num_gpus() > 0:
        distances, indices = _knn_gpu(faiss, queries, database, k)
    else:
        distances, indices = faiss.knn(queries, database, k)
    # faiss leaves -1 where a squared distance is infinite or NaN.
    if (indices < 0).any():
        raise ValueError(
            "`queries` and `database` must have squared distances within float32; normalise the descriptors. "
            f"Received: largest magnitudes {np.abs(queries).max():g} and {np.abs(database).max():g}"
        )
    return distances, indices


def _knn_gpu(faiss: Any, queries: np.ndarray, database: np.ndarray, k: int) -> Any:
    try:
        return faiss.knn_gpu(gpu_resources(), queries, database, k)
    except RuntimeError as error:
        # TensorFlow takes a GPU's whole memory unless told otherwise; a run should not die of that.
        logger.warning("faiss cannot search on the GPU (%s): searching on the processor", error)
        return faiss.knn(queries, database, k)


@functools.cache
def faiss_in_use() -> Any:
    """Prepared once: looking at all installed distributions takes longer than a small search."""
    faiss = import_faiss()
    # faiss 1.15 computes distances one by one up to queries x features of 128000: 500 queries of 256 numbers take six
    # times as long as with matrix products, which are the faster from four queries on.
    faiss.cvar.distance_compute_blas_threshold = 4
    return faiss


@functools.cache
def gpu_resources() -> Any:
    """faiss' memory on the GPU, once for the process."""
    return faiss_in_use().StandardGpuResources()


def import_faiss() -> Any:
    """Imports faiss, which is an optional dependency, and explains what to install when it cannot.

    Returns:
        The `faiss` module.

    Raises:
        ImportError: faiss is missing or does not load; or two distributions of it are installed, which own the same
            folder and break each other.
    """
    installed = _installed_distributions()
    if len(installed) > 1:
        raise ImportError(
            "`faiss` is installed by more than one distribution; they own the same folder and break each other. "
            f"Remove all of them with `pip uninstall {' '.join(installed)}`, then run {_EXTRAS}. "
            f"Received: installed={installed}"
        )
    try:
        import faiss
    except ImportError as error:
        raise ImportError(f"`faiss` is needed to search but cannot be imported ({error}). Run {_EXTRAS}.") from error
    return faiss


def _installed_distributions() -> list[str]:
    names = {str(distribution.name).lower().replace("_", "-") for distribution in importlib.metadata.distributions()}
    return sorted(name for name in names if name.startswith(_PREFIXES))
