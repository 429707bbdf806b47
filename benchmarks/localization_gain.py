"""What walks and a rough position add to single photos, on a data set of one's own.

    python benchmarks/localization_gain.py --root=DATA/ie_tower --model=MODEL --image_size=216,384 --cache=FOLDER
    python benchmarks/localization_gain.py --root=DATA/msls_london --model=MODEL --image_size=192,256 --cache=FOLDER \
        --walk_gap=60 --rough=200

The share of the test split's queries whose answer is within --radius: of single photos (most similar photo, and the
position that candidates agree about), of walks by the hidden Markov model and by SeqSLAM, and with a rough position
whose error is simulated. Walks are the queries of a traversal in the list's order; without traversals, queries one
after the other in the list that are at most --walk_gap metres apart. SeqSLAM takes the database in the list's order.
Parameters are those that are best on the validation split. Differences are those of `paired_difference` (queries are
taken as independent), and over walks, of which whole ones are drawn.
"""

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from keras_sare.datasets import open_dataset
from keras_sare.evaluation.measures.bootstrap import intervals
from keras_sare.evaluation.verdict import paired_difference
from keras_sare.localization import Motion, estimate_positions, match_traversal, track_places
from serving.descriptors.resumable import DescriptorFiles
from serving.index.map_photos import MapSettings, walks_of

K = 20
MOTIONS = [
    Motion(speed, 10.0, jump, unseen, 4, temperature)
    for speed in (5.0, 20.0, 40.0)
    for jump in (1e-2, 1e-4)
    for unseen in (0.02, 0.2)
    for temperature in (0.01, 0.02, 0.05)
]
LINES = [*itertools.product((3, 5, 9, 15), (11, 21, 51))]
SOFT = (0.0, 0.01, 0.02, 0.05, 0.1)


@dataclass(frozen=True, eq=False)
class Photos:
    """Queries of a split against its database: similarities [Q, N], positions, and the queries of each walk."""

    similarities: np.ndarray
    queries: np.ndarray
    database: np.ndarray
    walks: list[np.ndarray]
    radius: float

    def top(self, similarities: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores [Q, k] and positions [Q, k, 2] of the candidates."""
        scores = self.similarities if similarities is None else similarities
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        best = np.take_along_axis(scores, order, axis=1)
        return np.where(np.isfinite(best), best, np.nan), self.database[order]

    def right(self, positions: np.ndarray) -> np.ndarray:
        """Bool [Q], which positions are within the radius."""
        return np.asarray(np.linalg.norm(positions - self.queries, axis=1) <= self.radius)


def most_similar(photos: Photos) -> np.ndarray:
    """Of the first candidate."""
    return photos.right(photos.top()[1][:, 0])


def agreed(photos: Photos) -> np.ndarray:
    """Of the position that candidates agree about."""
    return photos.right(estimate_positions(*photos.top()).positions)


def markov(photos: Photos, motion: Motion) -> np.ndarray:
    """Of the hidden Markov model, walk by walk."""
    scores, places = photos.top()
    positions = np.full_like(photos.queries, np.nan)
    for walk in photos.walks:
        positions[walk] = track_places(scores[walk], places[walk], motion).positions
    return photos.right(positions)


def lines(photos: Photos, settings: tuple[int, int]) -> np.ndarray:
    """Of SeqSLAM, walk by walk."""
    length, contrast = settings
    lowest = photos.similarities[np.isfinite(photos.similarities)].min()
    similarities = np.where(np.isfinite(photos.similarities), photos.similarities, lowest)
    rows = np.zeros(len(photos.queries), np.int64)
    for walk in photos.walks:
        rows[walk] = match_traversal(similarities[walk], length, contrast=contrast).rows
    return photos.right(photos.database[rows])


def rough(photos: Photos, soft: float, metres: float) -> np.ndarray:
    """With a position whose error is normal, twice its deviation being `metres`: a box of that, or a penalty in it."""
    error = np.random.default_rng(0).normal(0, metres / 2, photos.queries.shape)
    apart = photos.database[None] - (photos.queries + error)[:, None]
    inside = (np.abs(apart) <= metres).all(axis=2)
    penalty = soft * (apart**2).sum(axis=2) / metres**2
    scores = np.where(inside, photos.similarities - penalty, -np.inf)
    there = np.isfinite(scores).any(axis=1)
    return photos.right(photos.top(scores)[1][:, 0]) & there


def main() -> None:
    """Chooses on the validation split, and prints a table of the test split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", required=True, help="a data set with positions and the splits val and test")
    add("--model", required=True)
    add("--image_size", required=True, help="height,width")
    add("--cache", required=True, help="folder for the descriptors")
    add("--radius", type=float, default=25.0)
    add("--walk_gap", type=float, default=None, help="metres that end a walk where there are no traversals")
    add("--rough", type=float, default=None, help="metres of a rough position's error (two standard deviations)")
    add("--exclude", choices=["traversal"], default=None, help="the query's own traversal is not searched")
    flags = parser.parse_args()
    val, test = (read(flags, split) for split in ("val", "test"))
    ways: dict[str, Callable[[Photos], np.ndarray]] = {"most similar photo": most_similar, "candidates agree": agreed}
    motion = best(markov, val, MOTIONS)
    length, contrast = best(lines, val, LINES)
    ways[f"walks, hidden Markov model: {motion}"] = partial(markov, motion=motion)
    ways[f"walks, SeqSLAM: length {length}, contrast {contrast}"] = partial(lines, settings=(length, contrast))
    if flags.rough is not None:
        chosen = best(partial(rough, metres=flags.rough), val, SOFT)
        ways[f"position within {flags.rough:g} m"] = partial(rough, soft=0.0, metres=flags.rough)
        ways[f"the same, with a penalty of {chosen:g}"] = partial(rough, soft=chosen, metres=flags.rough)
    print(f"{len(test.queries)} queries in {len(test.walks)} walks, {len(test.database)} database images")
    report({name: (way(val), way(test)) for name, way in ways.items()}, test.walks)


def best(way: Callable[..., np.ndarray], photos: Photos, settings: list) -> object:
    """The setting that answers most queries; of equal ones the first."""
    return settings[int(np.argmax([way(photos, one).mean() for one in settings]))]


def report(answers: dict[str, tuple[np.ndarray, np.ndarray]], walks: list[np.ndarray]) -> None:
    """Prints a line a way: share right on val and test with its interval, and against single photos."""
    single = answers["most similar photo"][1]
    for name, (on_val, right) in answers.items():
        share = intervals({"": lambda weights, right=right: weights @ right / weights.sum(axis=1)}, len(right))[""]
        line = f"{name}\n    val {on_val.mean():.3f}  test {right.mean():.3f} ({share[0]:.3f} to {share[1]:.3f})"
        if right is not single:
            one = paired_difference(right, single)
            low, high = over_walks(right.astype(float) - single, walks)
            points = [100 * value for value in (one.difference, *one.interval, low, high)]
            line += "  {:+.1f} points ({:+.1f} to {:+.1f}; over walks {:+.1f} to {:+.1f})".format(*points)
            line += f", {one.gained} better, {one.lost} worse, p {one.p_value:.2g}"
        print(line)


def over_walks(differences: np.ndarray, walks: list[np.ndarray]) -> tuple[float, float]:
    """The 95 % interval of a mean where whole walks are drawn."""
    sums = np.array([[differences[walk].sum(), len(walk)] for walk in walks])
    drawn = np.random.default_rng(0).integers(0, len(walks), (10_000, len(walks)))
    means = sums[drawn, 0].sum(axis=1) / sums[drawn, 1].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return low, high


def read(flags: argparse.Namespace, split: str) -> Photos:
    """Descriptors and walks of a split."""
    dataset = open_dataset(flags.root, split)
    settings = MapSettings(Path(flags.root), flags.model, image_size=flags.image_size.split(","))
    model = settings.open_model()
    files = DescriptorFiles(Path(flags.cache))
    queries, database = (files.of(model, side.paths, 8) for side in (dataset.queries, dataset.database))
    similarities = np.asarray(queries @ database.T, np.float64)
    if flags.exclude:
        own = np.asarray(dataset.queries.traversals)[:, None] == np.asarray(dataset.database.traversals)[None]
        similarities = np.where(own, -np.inf, similarities)
    positions = [np.asarray(side.positions) for side in (dataset.queries, dataset.database)]
    walks = walks_of(dataset.queries, flags.walk_gap)
    if not walks:
        raise SystemExit("The data set has no traversals: say by --walk_gap where walks end")
    return Photos(similarities, *positions, walks, flags.radius)


if __name__ == "__main__":
    main()
