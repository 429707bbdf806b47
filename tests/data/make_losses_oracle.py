"""Makes losses_oracle.json: losses of the public PyTorch projects on seeded tuples, which the tests compare with ours.

It runs the projects' own code, from checkouts side by side in one folder, in an environment with torch and tqdm:

    python tests/data/make_losses_oracle.py --originals FOLDER

FOLDER holds OpenIBL (yxgeee), deep-visual-geo-localization-benchmark (gmberton), cnnimageretrieval-pytorch
(filipradenovic) and pytorch-metric-learning (KevinMusgrave). For every loss it writes the value of a batch and its
gradient by the rows that are normalised to embeddings; the test draws the same rows from the same seed.
"""

import argparse
import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

BATCH = 3
NEGATIVES = 4
DIM = 5
SEED = 11


def rows() -> np.ndarray:
    """float64 [BATCH, 2 + NEGATIVES, DIM]; query, positive and negatives of a tuple lie near each other."""
    random = np.random.RandomState(SEED)
    return random.normal(size=(BATCH, 1, DIM)) + 0.5 * random.normal(size=(BATCH, 2 + NEGATIVES, DIM))


def openibl(originals: Path) -> dict[str, Callable]:
    """Losses of OpenIBL's two trainers: Euclidean, and dot products at temperature 0.07 (SFRS)."""
    # An empty package in place of ibl, whose own __init__ imports everything that training needs.
    package = types.ModuleType("ibl")
    package.__path__ = [str(originals / "OpenIBL" / "ibl")]
    sys.modules["ibl"] = package
    trainers = importlib.import_module("ibl.trainers")
    plain = trainers.Trainer(None, margin=0.1**0.5)
    dots = trainers.SFRSTrainer(None, None, temp=[0.07])

    def of_dots(kind: str) -> Callable:
        return lambda x: dots._get_loss(x[:, 0], x[:, 1], x[:, 2:], len(x), kind)

    return {
        "openibl_triplet": lambda x: plain._get_loss(x, "triplet", *x.shape[:2]),
        "openibl_sare_ind": lambda x: plain._get_loss(x, "sare_ind", *x.shape[:2]),
        "openibl_sare_joint": lambda x: plain._get_loss(x, "sare_joint", *x.shape[:2]),
        "sfrs_sare_ind": of_dots("sare_ind"),
        "sfrs_sare_joint": of_dots("sare_joint"),
    }


def benchmark(originals: Path) -> dict[str, Callable]:
    """Losses of the VG benchmark, divided by batch x negatives as its train.py does."""
    sys.path.insert(0, str(originals / "deep-visual-geo-localization-benchmark" / "model"))
    functional = importlib.import_module("functional")
    pairs = BATCH * NEGATIVES

    def independent(x: torch.Tensor) -> torch.Tensor:
        return sum(functional.sare_ind(t[0:1], t[1:2], n[None]) for t in x for n in t[2:]) / pairs

    def joint(x: torch.Tensor) -> torch.Tensor:
        return sum(functional.sare_joint(t[0:1], t[1:2], t[2:]) for t in x) / pairs

    return {"vgb_sare_ind": independent, "vgb_sare_joint": joint}


def retrieval(originals: Path) -> dict[str, Callable]:
    """Losses of cirtorch, summed over the tuples of a batch as its train.py does."""
    sys.path.insert(0, str(originals / "cnnimageretrieval-pytorch"))
    functional = importlib.import_module("cirtorch.layers.functional")
    label = torch.tensor([-1.0, 1.0] + [0.0] * NEGATIVES)
    return {
        "cirtorch_contrastive": lambda x: sum(functional.contrastive_loss(t.T, label, margin=0.7) for t in x),
        "cirtorch_triplet": lambda x: sum(functional.triplet_loss(t.T, label, margin=0.1) for t in x),
    }


def metric_learning(originals: Path) -> dict[str, Callable]:
    """Losses of pytorch-metric-learning with each query against its own tuple, averaged over tuples."""
    sys.path.insert(0, str(originals / "pytorch-metric-learning" / "src"))
    losses = importlib.import_module("pytorch_metric_learning.losses")
    labels = torch.tensor([0] + [1] * NEGATIVES)

    def on_tuples(loss: Callable) -> Callable:
        return lambda x: sum(loss(t[:1], labels[:1], ref_emb=t[1:], ref_labels=labels) for t in x) / len(x)

    return {
        "pml_multi_similarity": on_tuples(losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)),
        "pml_ntxent": on_tuples(losses.NTXentLoss(temperature=0.07)),
    }


def main() -> None:
    """Writes losses_oracle.json beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=Path, required=True, help="folder of the checkouts")
    originals = parser.parse_args().originals.resolve()
    torch.set_num_threads(1)
    oracle = {
        "torch": torch.__version__,
        "batch": BATCH,
        "negatives": NEGATIVES,
        "dim": DIM,
        "seed": SEED,
        "losses": {},
    }
    for project in (openibl, benchmark, retrieval, metric_learning):
        for name, loss in project(originals).items():
            x = torch.tensor(rows(), requires_grad=True)
            value = loss(normalize(x, dim=-1)).squeeze()
            value.backward()
            oracle["losses"][name] = {"value": value.item(), "gradient": x.grad.tolist()}
    Path(__file__).with_name("losses_oracle.json").write_text(json.dumps(oracle) + "\n")


if __name__ == "__main__":
    main()
