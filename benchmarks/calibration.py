"""How far stated probabilities are from the share of right answers, learned from photos of the same kind.

    python -m serving.index build INDEX --root=DATA --model=MODEL
    python benchmarks/calibration.py INDEX --root=DATA --model=MODEL --splits=val,test --folder=work
    python benchmarks/calibration.py INDEX --root=DATA --model=MODEL --splits=val,test --folder=work --rough=200
    python benchmarks/calibration.py INDEX --root=DATA --model=MODEL --splits=val,test --folder=work --sequence \
        --walk_gap=60

The queries' positions are cut into squares of 200 m, or into walks; half of them, drawn anew 40 times, give the
calibration, the others are asked. Printed are medians: the expected calibration error, that of answers that are right
exactly as often as they say (so few photos have no smaller one), the share within the stated uncertainty, and what
--precision=0.8 answers; and the calibration error of what was said before there was a calibration of such answers: for
a rough position that of photos alone, for walks the probability of their model.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_sare.datasets import ImageSet
from keras_sare.localization import (
    Calibration,
    Motion,
    PlaceIndex,
    Prior,
    calibration_error,
    rough_position,
    track_places,
    walk_features,
)
from keras_sare.localization.answering.learned import ROUGH
from keras_sare.localization.answering.place_search import PlaceSearch
from serving.descriptors.resumable import DescriptorFiles
from serving.index.map_photos import MapSettings, positions_of, queries_of, walks_of

K = 20
SQUARE = 200.0
HALVES = 40
PRECISION = 0.8
MEASURES = (
    *("calibration error", "of a perfect calibration", "within the uncertainty", "known", "right of the known"),
    "calibration error before",
)


@dataclass(frozen=True, eq=False)
class Judged:
    """Answers to n photos: what speaks for them, errors in metres, and what was said of them before."""

    of: str
    features: np.ndarray
    errors: np.ndarray
    before: np.ndarray | None = None


def main() -> None:
    """Prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--splits", default="val,test")
    parser.add_argument("--image_size", default="")
    parser.add_argument("--folder", type=Path, required=True, help="for descriptors")
    parser.add_argument("--rough", type=float, help="metres within which the position of those that are asked is known")
    parser.add_argument("--sequence", action="store_true", help="walks instead of single photos")
    parser.add_argument("--walk_gap", type=float, help="metres that end a walk where there are no traversals")
    parser.add_argument("--speed", type=float, default=20.0, help="metres from one photo of a walk to the next")
    flags = parser.parse_args()
    search = PlaceSearch(PlaceIndex(flags.index), 25.0)
    settings = MapSettings(flags.root, flags.model, image_size=flags.image_size.split(",") if flags.image_size else ())
    known = queries_of(settings, flags.splits.split(","), search.kind)
    descriptors = DescriptorFiles(flags.folder).of(settings.open_model(), known.paths, 8)
    groups = np.unique(np.floor(known.positions / SQUARE), axis=0, return_inverse=True)[1].ravel()
    single = alone(search, descriptors, known)
    learned = asked = single
    if flags.sequence:
        walks = walks_of(known, flags.walk_gap)
        groups = np.repeat(np.arange(len(walks)), [len(walk) for walk in walks])[np.argsort(np.concatenate(walks))]
        learned = asked = walked(search, descriptors, known, walks, Motion(speed=flags.speed))
    elif flags.rough:
        learned = near(search, descriptors, known, np.random.default_rng(0).permutation(np.resize(ROUGH, len(known))))
        asked = near(search, descriptors, known, np.full(len(known), flags.rough))
    found = np.array([*halves(learned, asked, groups, single)])
    right = (asked.errors <= 25).mean()
    print(f"{len(known)} photos, {right:.3f} right, {groups.max() + 1} squares or walks, {len(found)} halves")
    for name, median, (low, high) in zip(
        MEASURES, np.nanmedian(found, axis=0), np.nanquantile(found, [0.1, 0.9], axis=0).T, strict=True
    ):
        print(f"{name}: {median:.3f} (eight of ten: {low:.3f} to {high:.3f})")


def alone(search: PlaceSearch, descriptors: np.ndarray, known: ImageSet) -> Judged:
    """Single photos."""
    estimates = search.estimates(search.index.search(descriptors, K), Prior())
    return Judged("photos", estimates.features, errors_of(search, estimates.positions, known))


def near(search: PlaceSearch, descriptors: np.ndarray, known: ImageSet, widths: np.ndarray) -> Judged:
    """Photos whose position is known within some metres each; infinitely wrong where nothing was found there."""
    features = np.zeros((len(known), 3))
    errors = np.full(len(known), np.inf)
    for number, width in enumerate(np.unique(widths).tolist()):
        rows = np.flatnonzero(widths == width)
        prior = rough_position(positions_of(known)[rows], width, search.kind, seed=number)
        estimates = search.estimates(search.candidates(descriptors[rows], prior, K), prior)
        features[rows] = estimates.features
        errors[rows] = np.nan_to_num(errors_of(search, estimates.positions, known.subset(rows)), nan=np.inf)
    return Judged("near", features, errors)


def walked(
    search: PlaceSearch, descriptors: np.ndarray, known: ImageSet, walks: list[np.ndarray], motion: Motion
) -> Judged:
    """Photos of walks."""
    features = np.zeros((len(known), 2))
    errors = np.zeros(len(known))
    before = np.zeros(len(known))
    for rows in walks:
        candidates = search.index.search(descriptors[rows], K)
        places = search.in_metres(candidates.positions)
        track = track_places(candidates.scores, places, motion, search.radius)
        features[rows] = walk_features(track, candidates.scores, places, search.radius)
        errors[rows] = errors_of(search, track.positions, known.subset(rows))
        before[rows] = track.probability
    return Judged("walks", features, errors, before)


def errors_of(search: PlaceSearch, metres: np.ndarray, known: ImageSet) -> np.ndarray:
    """Metres from the truth."""
    return np.asarray(np.linalg.norm(metres - search.in_metres(positions_of(known)), axis=1))


def halves(learned: Judged, asked: Judged, groups: np.ndarray, single: Judged) -> Iterator[list[float]]:
    """The `MEASURES` of each half, those that have right and wrong answers enough."""
    for seed in range(HALVES):
        generator = np.random.default_rng(seed)
        chosen = generator.permutation(groups.max() + 1)[: (groups.max() + 1) // 2]
        first = np.isin(groups, chosen)
        from_these = first & np.isfinite(learned.errors)
        others = ~first & np.isfinite(asked.errors)
        try:
            calibration = Calibration.fit(learned.features[from_these], learned.errors[from_these], of=learned.of, k=K)
            plain = Calibration.fit(single.features[first], single.errors[first], k=K)
        except ValueError:
            continue
        features = asked.features[others]
        probability = calibration.probability(features)
        before = plain.probability(features) if asked.before is None else asked.before[others]
        right = asked.errors[others] <= 25
        drawn = generator.random((20, len(probability))) < probability
        perfect = [float(calibration_error(probability, one)) for one in drawn]
        known = probability >= calibration.threshold(PRECISION)
        yield [
            float(calibration_error(probability, right)),
            float(np.mean(perfect)),
            float((asked.errors[others] <= calibration.uncertainty(probability)).mean()),
            float(known.mean()),
            float(right[known].mean()) if known.any() else np.nan,
            float(calibration_error(before, right)),
        ]


if __name__ == "__main__":
    main()
