"""How far stated probabilities are from the share of right answers, learned from photos of the same kind.

    python -m serving.index build INDEX --root=DATA --model=MODEL
    python benchmarks/calibration.py INDEX --root=DATA --model=MODEL --splits=val,test --folder=work

The queries' positions are cut into squares of 200 m; half of the squares, drawn anew 40 times, give the calibration,
the others are asked. Printed are medians: the expected calibration error, that of answers that are right exactly as
often as they say (so few photos have no smaller one), the share within the stated uncertainty, and what
--precision=0.8 answers.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_sare.localization import Calibration, DescriptorLocalizer, PlaceIndex, calibration_error, estimate_positions
from serving.index.map_photos import MapSettings, positions_of, queries_of
from trainers.stages.evaluated.resumable import DescriptorFiles

SQUARE = 200.0
HALVES = 40
PRECISION = 0.8
MEASURES = ("calibration error", "of a perfect calibration", "within the uncertainty", "known", "right of the known")


def main() -> None:
    """Prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--splits", default="val,test")
    parser.add_argument("--image_size", default="")
    parser.add_argument("--folder", type=Path, required=True, help="for descriptors")
    flags = parser.parse_args()
    index = PlaceIndex(flags.index)
    settings = MapSettings(flags.root, flags.model, image_size=flags.image_size.split(",") if flags.image_size else ())
    known = queries_of(settings, flags.splits.split(","), index.record.kind)
    descriptors = DescriptorFiles(flags.folder).of(settings.open_model(), known.paths, 8)
    features, errors = judged(index, descriptors, positions_of(known))
    squares = np.unique(np.floor(known.positions / SQUARE), axis=0, return_inverse=True)[1].ravel()
    found = np.array([*halves(features, errors, squares)])
    print(f"{len(known)} photos, {(errors <= 25).mean():.3f} right, {squares.max() + 1} squares, {len(found)} halves")
    for name, median, (low, high) in zip(
        MEASURES, np.nanmedian(found, axis=0), np.nanquantile(found, [0.1, 0.9], axis=0).T, strict=True
    ):
        print(f"{name}: {median:.3f} (eight of ten: {low:.3f} to {high:.3f})")


def judged(index: PlaceIndex, descriptors: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What speaks for the answers, and their errors in metres."""
    candidates = index.search(descriptors, 20)
    estimates = estimate_positions(candidates.scores, candidates.positions)
    return estimates.features, DescriptorLocalizer(index).errors(estimates.positions, truth)


def halves(features: np.ndarray, errors: np.ndarray, squares: np.ndarray) -> Iterator[list[float]]:
    """The `MEASURES` of each half, those that have right and wrong answers enough."""
    for seed in range(HALVES):
        generator = np.random.default_rng(seed)
        chosen = generator.permutation(squares.max() + 1)[: (squares.max() + 1) // 2]
        learned = np.isin(squares, chosen)
        try:
            calibration = Calibration.fit(features[learned], errors[learned])
        except ValueError:
            continue
        probability = calibration.probability(features[~learned])
        right = errors[~learned] <= 25
        drawn = generator.random((20, len(probability))) < probability
        perfect = [float(calibration_error(probability, one)) for one in drawn]
        known = probability >= calibration.threshold(PRECISION)
        yield [
            float(calibration_error(probability, right)),
            float(np.mean(perfect)),
            float((errors[~learned] <= calibration.uncertainty(probability)).mean()),
            float(known.mean()),
            float(right[known].mean()) if known.any() else np.nan,
        ]


if __name__ == "__main__":
    main()
