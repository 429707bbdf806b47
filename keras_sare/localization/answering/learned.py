"""Calibrations learned from photos whose position is known, one for each kind of answers."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from keras_sare.localization.answering.place_search import PlaceSearch
from keras_sare.localization.calibration import Calibration
from keras_sare.localization.priors.prior import Prior
from keras_sare.localization.priors.rough_position import rough_position
from keras_sare.localization.reranking.reranked import Reranker
from keras_sare.localization.sequences.hidden_markov import track_places
from keras_sare.localization.sequences.motion import Motion
from keras_sare.localization.sequences.walk_features import walk_features
from keras_sare.utils.progress import progress

_BATCH = 256
_COMPARED = 8
_FEWEST_WALKS = 10
ROUGH = (50.0, 100.0, 200.0, 400.0, 1000.0, 3000.0)
"""Metres within which photos are taken to be, in turn, where answers near a rough position are calibrated."""


def of_photos(
    search: PlaceSearch, descriptors: np.ndarray, positions: np.ndarray, radius: float, k: int
) -> Calibration:
    """Learns it of single photos; see `DescriptorLocalizer.calibrate`."""
    parts = []
    for part in batches(descriptors, positions):
        estimates = search.estimates(search.index.search(descriptors[part], k), Prior())
        parts.append((estimates.features, _errors(search, estimates.positions, positions[part])))
    return Calibration.fit(*_joined(parts), radius, k)


def of_reranked(
    search: PlaceSearch,
    descriptors: np.ndarray,
    positions: np.ndarray,
    radius: float,
    k: int,
    reranker: Reranker,
    photos: Sequence[np.ndarray],
) -> Calibration:
    """Learns it of re-ranked photos, of which all that can be read are; see `DescriptorLocalizer.calibrate`."""
    parts = []
    parted = [*batches(descriptors, positions, _COMPARED)]
    for part in progress(parted, "Comparing", len(positions), "photo", size=lambda one: one.stop - one.start):
        candidates = search.index.search(descriptors[part], k)
        reranked = reranker.rerank(
            candidates, _Part(photos, range(part.start, part.stop)), np.isfinite(candidates.scores).any(axis=1)
        )
        estimates, features = search.reranked_estimates(reranked)
        errors = _errors(search, estimates.positions, positions[part])
        compared = (reranked.inliers >= 0).any(axis=1)
        parts.append((features[compared], errors[compared]))
    return Calibration.fit(*_joined(parts), radius, k, "reranked")


def of_near(search: PlaceSearch, descriptors: np.ndarray, positions: np.ndarray, radius: float, k: int) -> Calibration:
    """Learns it of photos near a rough position; see `DescriptorLocalizer.calibrate_near`."""
    within = np.random.default_rng(0).permutation(np.resize(ROUGH, len(positions)))
    parts = []
    for part in batches(descriptors, positions):
        for metres in ROUGH:
            rows = part.start + np.flatnonzero(within[part] == metres)
            if not len(rows):
                continue
            prior = rough_position(positions[rows], metres, search.kind, seed=int(rows[0]))
            estimates = search.estimates(search.candidates(descriptors[rows], prior, k), prior)
            errors = _errors(search, estimates.positions, positions[rows])
            found = estimates.best >= 0
            parts.append((estimates.features[found], errors[found]))
    return Calibration.fit(*_joined(parts), radius, k, "near")


def of_walks(
    search: PlaceSearch,
    descriptors: np.ndarray,
    positions: np.ndarray,
    radius: float,
    k: int,
    walks: Sequence[np.ndarray],
    motion: Motion | None,
) -> Calibration:
    """Learns it of walks; see `DescriptorLocalizer.calibrate_walks`."""
    if len(walks) < _FEWEST_WALKS:
        raise ValueError(
            f"`walks` must be {_FEWEST_WALKS} at least, for the photos of one are right or wrong together. "
            f"Received: {len(walks)}"
        )
    parts = []
    for rows in walks:
        candidates = search.index.search(descriptors[rows], k)
        places = search.in_metres(candidates.positions)
        track = track_places(candidates.scores, places, motion, search.radius)
        features = walk_features(track, candidates.scores, places, search.radius)
        parts.append((features, _errors(search, track.positions, positions[rows])))
    return Calibration.fit(*_joined(parts), radius, k, "walks")


class _Part(Sequence[np.ndarray]):
    """Some of the photos, which are read when they are asked for."""

    def __init__(self, photos: Sequence[np.ndarray], numbers: range) -> None:
        self._photos = photos
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, number: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, number: slice) -> "_Part": ...
    def __getitem__(self, number: int | slice) -> "np.ndarray | _Part":
        if isinstance(number, slice):
            return _Part(self._photos, self._numbers[number])
        return self._photos[self._numbers[number]]


def batches(descriptors: np.ndarray, positions: np.ndarray, size: int = _BATCH) -> Iterator[slice]:
    """Rows that are looked up together.

    Raises:
        ValueError: there is not a position for each descriptor.
    """
    if len(descriptors) != len(positions):
        raise ValueError(
            "`positions` must say for each of the `descriptors` where it was taken. "
            f"Received: {len(descriptors)} descriptors, {len(positions)} positions"
        )
    for start in range(0, len(positions), size):
        yield slice(start, min(start + size, len(positions)))


def _errors(search: PlaceSearch, metres: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(metres - search.in_metres(truth), axis=-1))


def _joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    features, errors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return features, errors
