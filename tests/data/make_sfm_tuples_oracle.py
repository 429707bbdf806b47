"""Makes sfm_tuples_oracle.npz: negatives mined by the original code, which the tests compare with ours.

It runs `TuplesDataset.create_epoch_tuples` of filipradenovic/cnnimageretrieval-pytorch, from a checkout of it, on the
descriptors and clusters that `descriptors` and `clusters` draw (the tests draw the same). Its file imports torch and
torchvision, so it needs an environment with both, and no GPU: what moves tensors there is made to leave them.

    python tests/data/make_sfm_tuples_oracle.py --originals FOLDER

What it writes, for each name of CASES:

* `*_queries`: int64 [queries], the images that it drew as queries;
* `*_pool`: int64 [pool], the images that it drew as possible negatives, in its order;
* `*_negatives`: int64 [queries, negatives], hardest first;
* `*_average`: the average distance of queries and negatives that it returns (it adds 1e-6 to each coordinate).
"""

import argparse
import sys
from pathlib import Path

import numpy as np

IMAGES = 300
CLUSTERS = 40
FEATURES = 16
CASES = {"whole": (60, IMAGES), "part": (60, 120)}
"""Queries and pool of each case."""
NEGATIVES = 5


def descriptors() -> np.ndarray:
    """L2-normalised descriptors, float32 [IMAGES, FEATURES], more alike within a cluster."""
    random = np.random.RandomState(0)
    rows = random.standard_normal((IMAGES, FEATURES)) + 2 * random.standard_normal((CLUSTERS, FEATURES))[clusters()]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clusters() -> np.ndarray:
    """Clusters of unlike sizes, int64 [IMAGES]."""
    return np.random.RandomState(1).randint(0, CLUSTERS, IMAGES) * np.random.RandomState(2).randint(0, 2, IMAGES)


def main() -> None:
    """Writes sfm_tuples_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--originals", type=Path, required=True, help="Folder of the checkouts.")
    sys.path.insert(0, str(parser.parse_args().originals / "cnnimageretrieval-pytorch"))
    import torch
    from cirtorch.datasets import traindataset

    class Network(torch.nn.Module):
        """Gives image i, which is the number i, its descriptor."""

        meta = {"outputdim": FEATURES}

        def meta_repr(self) -> str:
            return "table of descriptors"

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(descriptors())[int(image)]

    drawn = []
    draw = torch.randperm
    torch.randperm = lambda count: drawn.append(draw(count)) or drawn[-1]
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self: self
    torch.utils.data.DataLoader = lambda images, **_: images
    traindataset.ImagesFromList = lambda images, **_: [torch.tensor(number) for number in images]

    oracle = {}
    for name, (queries, pool) in CASES.items():
        torch.manual_seed(0)
        drawn.clear()
        one = object.__new__(traindataset.TuplesDataset)
        one.name = "random"
        one.mode = "train"
        one.imsize = None
        one.transform = None
        one.print_freq = IMAGES
        one.images = list(range(IMAGES))
        one.clusters = clusters().tolist()
        one.qpool = list(range(IMAGES))
        one.ppool = list(range(IMAGES))
        one.nnum = NEGATIVES
        one.qsize = queries
        one.poolsize = pool
        oracle[f"{name}_average"] = np.float64(one.create_epoch_tuples(Network()))
        oracle[f"{name}_queries"] = np.array(one.qidxs)
        oracle[f"{name}_pool"] = drawn[1][:pool].numpy()
        oracle[f"{name}_negatives"] = np.array(one.nidxs, np.int64)
    np.savez_compressed(Path(__file__).with_name("sfm_tuples_oracle.npz"), **oracle)


if __name__ == "__main__":
    main()
