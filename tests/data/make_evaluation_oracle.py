"""Makes evaluation_oracle.json: what public evaluation code finds for random descriptors on real geometry.

It runs the projects' own code, from checkouts side by side in one folder, where faiss and scikit-learn are installed:

    PYTHONPATH=. python tests/data/make_evaluation_oracle.py --originals FOLDER --positions POSITIONS

FOLDER holds deep-visual-geo-localization-benchmark (gmberton), OpenIBL (yxgeee) and mapillary_sls (mapillary);
POSITIONS pitts30k_test.mat and tokyo247.mat. PyTorch is only what these load rows with, and is replaced. The numbers
come out of their own code: positives, recall@N of all images and of one at a position, mAP@N.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import types
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from evaluation_geometry import descriptors

from keras_sare.datasets import read_dbstruct

NS = [1, 2, 5, 10, 20]
TOKYO_NS = [1, 2, 5, 10, 20, 100]


class Rows(np.ndarray):
    """What their code takes for tensors."""

    def to(self, _):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return np.asarray(self)


class Subset:
    def __init__(self, dataset, indices):
        self.rows = dataset.rows[indices].view(Rows)
        self.indices = np.array(indices).view(Rows)


def load(dataset, batch_size, **_):
    for start in range(0, len(dataset.rows), batch_size):
        yield dataset.rows[start : start + batch_size], dataset.indices[start : start + batch_size]


def replace_torch():
    names = ("torch", "torch.distributed", "torch.multiprocessing", "torch.nn", "torch.nn.functional", "torch.utils")
    for name in (*names, "torchvision", "torchvision.transforms"):
        sys.modules[name] = MagicMock()
    for name in ("torch.utils.data", "torch.utils.data.dataset", "torch.utils.data.dataloader"):
        sys.modules[name] = types.SimpleNamespace(Dataset=object, Subset=Subset, DataLoader=load)
    sys.modules["torch"].no_grad = nullcontext
    sys.modules["torch"].utils = sys.modules["torch.utils"]
    sys.modules["torch.utils"].data = sys.modules["torch.utils.data"]
    sys.modules["torch.distributed"].get_rank.return_value = 1
    sys.modules["torch"].distributed = sys.modules["torch.distributed"]
    np.in1d = np.isin  # NumPy's new name for it.


def benchmark(originals, name, dataset, sides):
    """The VG benchmark's data set of files whose names hold positions, and its `test`."""
    sys.path.insert(0, str(originals / "deep-visual-geo-localization-benchmark"))
    theirs = importlib.import_module("datasets_ws")
    test = importlib.import_module("test").test
    args = types.SimpleNamespace(
        resize=[480, 640],
        test_method="hard_resize",
        val_positive_dist_threshold=25,
        features_dim=sides[0].shape[1],
        num_workers=0,
        infer_batch_size=512,
        device="cpu",
        recall_values=NS,
        efficient_ram_testing=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        for side, images in (("database", dataset.database), ("queries", dataset.queries)):
            place = Path(folder) / "set" / "images" / "test" / side
            place.mkdir(parents=True)
            for number, (east, north) in enumerate(images.positions.tolist()):
                (place / f"@{east!r}@{north!r}@{number}@.jpg").touch()
        data = theirs.BaseDataset(args, folder, "set", "test")
    numbers = [
        [int(os.path.basename(path).split("@")[3]) for path in side]
        for side in (data.database_paths, data.queries_paths)
    ]
    data.rows = np.concatenate([sides[1][numbers[0]], sides[0][numbers[1]]])
    recalls, _ = test(args, data, MagicMock(side_effect=lambda rows: rows, eval=lambda: lambda rows: rows))
    positives = sorted(map(len, data.get_positives()))
    return {"ns": NS, "recalls": (recalls / 100).tolist(), "positives": int(sum(positives)), "fewest": positives[0]}


def openibl(originals, dataset, sides):
    """OpenIBL's recalls of Tokyo 24/7, one image a panorama; its positives of 25 m."""
    package = types.ModuleType("ibl")
    package.__path__ = [str(originals / "OpenIBL" / "ibl")]
    sys.modules["ibl"] = package
    for name in (
        "pca",
        "utils.meters",
        "utils.rerank",
        "utils.dist_utils",
        "utils.serialization",
        "utils.data.preprocessor",
    ):
        sys.modules[f"ibl.{name}"] = MagicMock()
    evaluators = importlib.import_module("ibl.evaluators")
    get_groundtruth = importlib.import_module("ibl.utils.data.dataset").get_groundtruth
    folders = {
        folder: number for number, folder in enumerate(dict.fromkeys(map(os.path.dirname, dataset.database.paths)))
    }
    gallery = [
        (path, folders[os.path.dirname(path)], *position)
        for path, position in zip(dataset.database.paths.tolist(), dataset.database.positions.tolist(), strict=True)
    ]
    query = [
        (path, -1, *xy)
        for path, xy in zip(dataset.queries.paths.tolist(), dataset.queries.positions.tolist(), strict=True)
    ]
    positives, _ = get_groundtruth(query, gallery, 25)
    away = 2 - 2 * (sides[0] @ sides[1].T)
    recalls = evaluators.evaluate_all(away, positives, gallery, recall_topk=TOKYO_NS, nms=True)
    return {"ns": TOKYO_NS, "recalls": recalls.tolist(), "positives": sum(map(len, positives))}


def mapillary(originals, dataset, sides):
    """mapillary_sls's recall and mAP."""
    sys.path.insert(0, str(originals / "mapillary_sls"))
    sys.modules["urllib.request"] = MagicMock()
    theirs = importlib.import_module("mapillary_sls.utils.eval")
    ranks = theirs.rank_embeddings(*sides)[:, : max(NS)]
    predictions = np.concatenate([np.arange(len(sides[0]))[:, None], ranks], axis=1)
    positives = [list(row) for row in dataset.positives(25)]
    metrics = theirs.eval(list(range(len(positives))), positives, predictions, ks=NS)
    return {"ns": NS} | {f"{kind}s": [float(metrics[f"{kind}@{n}"]) for n in NS] for kind in ("recall", "map")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--originals", type=Path, required=True)
    parser.add_argument("--positions", type=Path, required=True)
    arguments = parser.parse_args()
    replace_torch()
    found = {}
    for name in ("pitts30k_test", "tokyo247"):
        dataset = read_dbstruct(arguments.positions / f"{name}.mat", "/nowhere")
        sides = descriptors(name, dataset.queries.positions, dataset.database.positions)
        found[name] = {"benchmark": benchmark(arguments.originals, name, dataset, sides)}
        if name == "tokyo247":
            found[name]["openibl"] = openibl(arguments.originals, dataset, sides)
        else:
            found[name]["mapillary_sls"] = mapillary(arguments.originals, dataset, sides)
    Path(__file__).with_name("evaluation_oracle.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
