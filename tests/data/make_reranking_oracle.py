"""Makes reranking_oracle.npz: expanded queries and re-rankings by public code, which the tests compare with ours.

It runs `fastreid/evaluation/query_expansion.py` of JDAI-CV/fast-reid, `diffussion.py` of ducha-aiki/manifold-diffusion
and `python-version/re_ranking_ranklist.py` of zhunzhong07/person-re-ranking from checkouts of these repositories, in an
environment with numpy, scipy and torch:

    python tests/data/make_reranking_oracle.py --originals FOLDER

What it writes:

* `queries`, `database`: float32 unit vectors around a few centres;
* `expanded_N_ALPHA`: queries expanded by N images, each query on its own, because that code counts other queries as
  database images too; its own nearest there is the query, so it is asked for N + 1;
* `graph`: affinities of mutual neighbours, K = 15; `diffusion`: rankings of the whole database by its solution,
  alpha = 0.99, iterated until nothing changes, for queries joined to five images;
* `k_reciprocal_K1_K2_LAMBDA`: distances of all queries to the whole database.
"""

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from scipy.sparse import linalg

EXPANSIONS = ((1, 0), (5, 0), (5, 3), (20, 3))
K_RECIPROCAL = ((20, 6, 0.3), (10, 1, 0.3), (5, 3, 0.6), (7, 4, 0.1))


def unit_vectors() -> tuple[np.ndarray, np.ndarray]:
    """Queries [6, 12] and database [120, 12] of norm 1."""
    random = np.random.RandomState(11)
    centres = random.standard_normal((10, 12))
    x = centres[random.randint(0, 10, 126)] + 0.5 * random.standard_normal((126, 12))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return x[:6], x[6:]


def load(path: Path) -> ModuleType:
    """Imports one file without its package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expansions(original: ModuleType, queries: np.ndarray, database: np.ndarray) -> dict[str, np.ndarray]:
    """Expanded queries by their code, which does not normalise its last result."""
    result = {}
    for n, alpha in EXPANSIONS:
        rows = [
            original.aqe(torch.from_numpy(query[None]), torch.from_numpy(database), 1, n + 1, alpha)[0].numpy()[0]
            for query in queries
        ]
        result[f"expanded_{n}_{alpha}"] = np.stack([row / np.linalg.norm(row) for row in rows])
    return result


def diffusion(original: ModuleType, queries: np.ndarray, database: np.ndarray) -> dict[str, np.ndarray]:
    """Graph and rankings by their code, with SciPy's new name of an argument and until nothing changes."""
    original.s_linalg = SimpleNamespace(
        minres=lambda system, right, tol, maxiter: linalg.minres(system, right, rtol=1e-13, maxiter=5000)
    )
    similarities = database.astype(np.float64) @ database.T
    graph = original.topK_W(original.sim_kernel(similarities), 15)
    sources = original.sim_kernel(queries.astype(np.float64) @ database.T)
    for row in sources:
        row[np.argsort(-row)[5:]] = 0
    ranks = original.cg_diffusion(sources, original.normalize_connection_graph(graph), alpha=0.99)
    return {"graph": graph.astype(np.float32), "diffusion": ranks.T.astype(np.int16)}


def k_reciprocal(original: ModuleType, queries: np.ndarray, database: np.ndarray) -> dict[str, np.ndarray]:
    """Distances by their code, which takes unsquared Euclidean ones."""

    def between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(left[:, None].astype(np.float64) - right[None]).sum(-1))

    distances = between(queries, database), between(queries, queries), between(database, database)
    return {
        f"k_reciprocal_{k1}_{k2}_{weight}": original.re_ranking(*distances, k1, k2, weight)
        for k1, k2, weight in K_RECIPROCAL
    }


def main() -> None:
    """Writes reranking_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--originals", type=Path, required=True, help="Folder of the checkouts.")
    originals = parser.parse_args().originals
    arrays = unit_vectors()
    np.savez_compressed(
        Path(__file__).with_name("reranking_oracle.npz"),
        queries=arrays[0],
        database=arrays[1],
        **expansions(load(originals / "fast-reid/fastreid/evaluation/query_expansion.py"), *arrays),
        **diffusion(load(originals / "manifold-diffusion/diffussion.py"), *arrays),
        **k_reciprocal(load(originals / "person-re-ranking/python-version/re_ranking_ranklist.py"), *arrays),
    )


if __name__ == "__main__":
    main()
