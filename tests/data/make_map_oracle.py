"""Makes map_oracle.npz: mean average precisions by the public evaluation code, which the tests compare with ours.

It runs the projects' own code, from checkouts side by side in one folder; numpy is all it needs:

    python tests/data/make_map_oracle.py --originals FOLDER

FOLDER holds cnnimageretrieval-pytorch (filipradenovic). What it writes, for each case of `CASES`:

* `<case>/queries` [Q, D] and `<case>/database` [N, D]: small integers, so that products are exact and ties are ties;
* `<case>/labels` [Q, N], uint8: 1 for ok, 2 easy, 4 hard, 8 junk, added up;
* `<case>/shown`: how many images of a ranking (stable by index) were measured;
* `<case>/<protocol>/aps` [Q], `/prs` [Q, 3], `/map` and `/pr` [3]: what `compute_map` gives for the k 1, 5 and 10;
* `<case>/printed`: what `compute_map_and_print` prints for the revisited and for the original protocols.
"""

import argparse
import contextlib
import importlib.util
import io
import types
from pathlib import Path

import numpy as np

KS = [1, 5, 10]
SEED = 5
CASES = {
    # name: (queries, images, dimensions, largest integer, shares of ok, easy, hard, junk, share of the ranking shown)
    "many_ties": (12, 90, 3, 1, (0.1, 0.08, 0.08, 0.1), 1.0),
    "few_ties": (12, 300, 8, 40, (0.03, 0.02, 0.03, 0.05), 1.0),
    "few_positives": (40, 60, 4, 3, (0.02, 0.02, 0.02, 0.2), 1.0),
    "no_junk": (10, 80, 4, 3, (0.1, 0.1, 0.1, 0.0), 1.0),
    "labels_overlap": (10, 50, 4, 2, (0.5, 0.4, 0.4, 0.5), 1.0),
    "short_rankings": (10, 120, 4, 3, (0.2, 0.2, 0.2, 0.1), 0.4),
}
LABELS = {"ok": 1, "easy": 2, "hard": 4, "junk": 8}
PROTOCOLS = {
    "classic": (["ok"], ["junk"]),
    "easy": (["easy"], ["junk", "hard"]),
    "medium": (["easy", "hard"], ["junk"]),
    "hard": (["hard"], ["junk", "easy"]),
}


def load(path: Path) -> types.ModuleType:
    """Imports one file of the public code, written for a numpy that still had `in1d`."""
    if not hasattr(np, "in1d"):
        np.in1d = np.isin
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def indices(row: np.ndarray, names: list[str]) -> np.ndarray:
    """Images of a query that have any of the labels; each label's in turn, as the public code joins them."""
    return np.concatenate([np.flatnonzero(row & LABELS[name]) for name in names])


def printed(public: types.ModuleType, dataset: str, ranks: np.ndarray, truth: list[dict]) -> str:
    """What the public code prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        public.compute_map_and_print(dataset, ranks, truth)
    return text.getvalue()


def run_case(public: types.ModuleType, random: np.random.RandomState, case: tuple) -> dict[str, np.ndarray]:
    """Inputs and outputs of one case."""
    queries, images, dimensions, largest, shares, shown = case
    database = random.randint(-largest, largest + 1, (images, dimensions)).astype("int8")
    wanted = random.randint(-largest, largest + 1, (queries, dimensions)).astype("int8")
    labels = np.zeros((queries, images), "uint8")
    for value, share in zip(LABELS.values(), shares, strict=True):
        labels += (random.uniform(size=labels.shape) < share).astype("uint8") * np.uint8(value)
    count = int(shown * images)
    ranks = np.argsort(-(wanted.astype(int) @ database.T.astype(int)), axis=1, kind="stable")[:, :count].T
    truth = [{name: indices(row, [name]) for name in LABELS} for row in labels]
    arrays = {"queries": wanted, "database": database, "labels": labels, "shown": np.array(count)}
    for protocol, (right, ignored) in PROTOCOLS.items():
        one = [{"ok": indices(row, right), "junk": indices(row, ignored)} for row in labels]
        results = public.compute_map(ranks, one, KS)
        arrays |= {
            f"{protocol}/{name}": value for name, value in zip(("map", "aps", "pr", "prs"), results, strict=True)
        }
    text = printed(public, "roxford5k", ranks, truth) + printed(public, "oxford5k", ranks, truth)
    return arrays | {"printed": np.array(text)}


def main() -> None:
    """Writes map_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--originals", type=Path, required=True, help="folder with the checkouts")
    originals = parser.parse_args().originals
    public = load(originals / "cnnimageretrieval-pytorch" / "cirtorch" / "utils" / "evaluate.py")
    random = np.random.RandomState(SEED)
    arrays = {f"{name}/{k}": v for name, case in CASES.items() for k, v in run_case(public, random, case).items()}
    np.savez_compressed(Path(__file__).with_name("map_oracle.npz"), **arrays)


if __name__ == "__main__":
    main()
