"""Where photos were taken: what an index finds for their descriptors, what that agrees about, and how sure that is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_sare.localization.calibration import Calibration
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.estimates import Estimates, estimate_positions
from keras_sare.localization.place_index import PlaceIndex
from keras_sare.utils.arguments import plain_arguments

_BATCH = 256
_DEGREE = 111_000.0
"""Metres of a degree of latitude, and a little less: a box is never too small."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Where Q photos were taken.

    Attributes:
        candidates: the most similar photos of the index.
        positions: float64 [Q, 2], as the index has them: easting and northing, or latitude and longitude; NaN where
            there was no candidate.
        probability: float64 [Q] that the position is within the calibration's radius; NaN without a calibration.
        uncertainty: float64 [Q] metres within which nine of ten such answers are; NaN without a calibration.
        known: bool [Q], whether the answer is sure enough; without a calibration, whether there is one.
    """

    candidates: Candidates
    positions: np.ndarray
    probability: np.ndarray
    uncertainty: np.ndarray
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)


class DescriptorLocalizer:
    """Answers where photos were taken, from their descriptors.

    Args:
        index: of the map.
        k: candidates that are looked at for each photo.
        precision: share of the answers that should be right among those that are `known`, as far as the photos of the
            calibration can say; answers that are less sure say "don't know". Without a calibration it has no effect.
        radius: metres within which candidates agree.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, index: PlaceIndex, k: int = 20, precision: float = 0.9, radius: float = 25.0) -> None:
        if k < 1:
            raise ValueError(f"`k` must be positive. Received: k={k}")
        self.index = index
        self._k = k
        self._radius = radius
        calibration = index.record.calibration
        self._threshold = 0.0 if calibration is None else calibration.threshold(precision)

    @plain_arguments
    def locate(self, descriptors: np.ndarray, near: np.ndarray | None = None, within: float = 1000.0) -> Answers:
        """Locates photos.

        Args:
            descriptors: [Q, dim] of norm 1, of the index's model.
            near: [2], a rough position, as the index has them; only candidates around it are looked at.
            within: metres around `near`, to each side.

        Raises:
            ValueError: shapes do not agree, or a value is out of range.
        """
        box = None if near is None else box_around(near, within, self.index.record.kind)
        candidates = self.index.search(descriptors, self._k, box)
        estimates = self._estimates(candidates)
        calibration = self.index.record.calibration
        there = estimates.best >= 0
        probability = np.full(len(there), np.nan)
        uncertainty = np.full(len(there), np.nan)
        known = there
        if calibration is not None:
            probability[there] = calibration.probability(estimates.features[there])
            uncertainty[there] = calibration.uncertainty(probability[there])
            known = there & (probability >= self._threshold)
        return Answers(candidates, self._as_indexed(estimates.positions), probability, uncertainty, known)

    @plain_arguments
    def calibrate(self, descriptors: np.ndarray, positions: np.ndarray, radius: float = 25.0) -> Calibration:
        """Learns from photos whose position is known how sure answers are. They must not be in the index themselves.

        Args:
            descriptors: [n, dim] of norm 1, array or memory map.
            positions: [n, 2], as the index has them.
            radius: metres within which an answer is right.

        Raises:
            ValueError: see `Calibration.fit`.
        """
        parts = [self._judged(*part) for part in _batches(descriptors, positions)]
        features, errors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Calibration.fit(features, errors, radius)

    @plain_arguments
    def errors(self, positions: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Metres between positions [Q, 2] and true ones [Q, 2], both as the index has them; NaN where one is."""
        return np.asarray(np.linalg.norm(self._in_metres(positions) - self._in_metres(truth), axis=-1))

    def _judged(self, descriptors: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        estimates = self._estimates(self.index.search(descriptors, self._k))
        errors = np.linalg.norm(estimates.positions - self._in_metres(positions), axis=-1)
        return estimates.features, errors

    def _estimates(self, candidates: Candidates) -> Estimates:
        return estimate_positions(candidates.scores, self._in_metres(candidates.positions), self._radius)

    def _in_metres(self, positions: np.ndarray) -> np.ndarray:
        if self.index.record.kind == "metres":
            return np.asarray(positions, np.float64)
        from keras_sare.datasets import earth_centred  # With it comes TensorFlow: seconds, and 700 MB.

        flat = np.reshape(positions, (-1, 2))
        there = np.isfinite(flat).all(axis=1)
        metres = np.full((len(flat), 3), np.nan)
        metres[there] = earth_centred(*flat[there].T)
        return metres.reshape(*np.shape(positions)[:-1], 3)

    def _as_indexed(self, metres: np.ndarray) -> np.ndarray:
        if self.index.record.kind == "metres":
            return metres
        from keras_sare.datasets import geodetic

        return geodetic(metres)


@plain_arguments
def box_around(near: np.ndarray, within: float, kind: str) -> np.ndarray:
    """A box around a rough position, [2, 2] as `PlaceIndex.search` takes it.

    In degrees it is as wide as its side nearer to the pole needs; around a pole or the date line it is as wide as the
    earth.

    Args:
        near: [2] easting and northing, or latitude and longitude.
        within: metres to each side.
        kind: of the index's positions, "metres" or "degrees".

    Raises:
        ValueError: `near` is not such a position, or `within` is not positive.
    """
    near = np.asarray(near, np.float64)
    if near.shape != (2,) or not np.isfinite(near).all():
        raise ValueError(f"`near` must be a position of two finite numbers. Received: near={near.tolist()}")
    if not 0 < within < np.inf:
        raise ValueError(f"`within` must be a positive number of metres. Received: within={within}")
    if kind == "metres":
        return np.stack([near - within, near + within], axis=1)
    from keras_sare.datasets import earth_centred

    earth_centred(near[:1], near[1:])  # Degrees that are none are refused.
    latitude, longitude = near
    high = within / _DEGREE
    nearest_pole = min(abs(latitude) + high, 90.0)
    wide = high / max(np.cos(np.radians(nearest_pole)), 1e-9)
    around = np.array([longitude - wide, longitude + wide])
    if np.abs(around).max() > 180:
        around = np.array([-180.0, 180.0])
    return np.array([[latitude - high, latitude + high], around])


def _batches(descriptors: np.ndarray, positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if len(descriptors) != len(positions):
        raise ValueError(
            "`positions` must say for each of the `descriptors` where it was taken. "
            f"Received: {len(descriptors)} descriptors, {len(positions)} positions"
        )
    for start in range(0, len(descriptors), _BATCH):
        yield descriptors[start : start + _BATCH], positions[start : start + _BATCH]
