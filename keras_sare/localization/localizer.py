"""Where photos were taken: what an index finds for their descriptors, what that agrees about, and how sure that is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_sare.localization.calibration import Calibration
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.estimates import Estimates, estimate_positions
from keras_sare.localization.place_index import PlaceIndex
from keras_sare.localization.priors.prior import Prior
from keras_sare.localization.sequences.hidden_markov import track_places
from keras_sare.localization.sequences.motion import Motion
from keras_sare.utils.arguments import plain_arguments

_BATCH = 256


@dataclass(frozen=True, eq=False)
class Answers:
    """Where Q photos were taken.

    Attributes:
        candidates: the most similar photos of the index.
        positions: float64 [Q, 2], as the index has them: easting and northing, or latitude and longitude; NaN where
            there was no candidate.
        probability: float64 [Q] that the position is within the calibration's radius; NaN without a calibration. Of
            the photos of a walk it is that of `Track`, and so is the uncertainty.
        uncertainty: float64 [Q] metres within which nine of ten such answers are; NaN without a calibration.
        known: bool [Q], whether the answer is sure enough; without a calibration, whether there is one.
        similarity: float64 [Q] of the best candidate at the position; of a walk's photo that has none there, of its
            last candidate. NaN where there is no candidate.
    """

    candidates: Candidates
    positions: np.ndarray
    probability: np.ndarray
    uncertainty: np.ndarray
    known: np.ndarray
    similarity: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def surest(self) -> int:
        """Number of the photo with the most probable answer, the answer for a walk; -1 where there is none."""
        there = np.isfinite(self.positions).all(axis=1)
        return int(np.where(there, np.nan_to_num(self.probability), -1.0).argmax()) if there.any() else -1


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
        self._precision = precision
        calibration = index.record.calibration
        self._threshold = 0.0 if calibration is None else calibration.threshold(precision)

    @plain_arguments
    def locate(self, descriptors: np.ndarray, prior: Prior | None = None) -> Answers:
        """Locates photos.

        Args:
            descriptors: [Q, dim] of norm 1, of the index's model.
            prior: what is known of them already.

        Raises:
            ValueError: shapes do not agree, or a value is out of range.
        """
        candidates = self._candidates(descriptors, prior or Prior())
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
        positions = self._as_indexed(estimates.positions)
        return Answers(candidates, positions, probability, uncertainty, known, estimates.scores)

    @plain_arguments
    def locate_sequence(
        self, descriptors: np.ndarray, prior: Prior | None = None, motion: Motion | None = None
    ) -> Answers:
        """Locates the photos of one walk or drive together, each with the help of those before and after it.

        The walk may go any way through the map. A photo without candidates, or whose candidates do not fit, is put
        between those before and after it. Cuts, and photos out of order, cost certainty where the way is longer than
        `Motion.speed` allows; of two walks whose photos are mixed one is found. A single photo is put around its best
        candidate.

        Args:
            descriptors: [F, dim] of norm 1 in the order of the walk.
            prior: what is known of the photos already.
            motion: how far it is from one to the next.

        Returns:
            An answer for each photo; `Answers.surest` is the one for the walk. The probability is that of the way, see
            `track_places`; `known` is whether it reaches `precision`, with or without a calibration.

        Raises:
            ValueError: shapes do not agree, or a value is out of range.
        """
        candidates = self._candidates(descriptors, prior or Prior())
        track = track_places(candidates.scores, self._in_metres(candidates.positions), motion, self._radius)
        known = np.nan_to_num(track.probability) >= self._precision
        positions = self._as_indexed(track.positions)
        there = np.isfinite(candidates.scores)
        chosen = np.where(track.path >= 0, track.path, np.maximum(there.sum(axis=1) - 1, 0))
        similarity = candidates.scores[np.arange(len(chosen)), chosen]
        return Answers(candidates, positions, track.probability, track.uncertainty, known, similarity)

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

    def _candidates(self, descriptors: np.ndarray, prior: Prior) -> Candidates:
        boxes = prior.boxes(len(descriptors), self.index.record.kind)
        parts = [descriptors] if len(boxes) == 1 else np.split(descriptors, len(descriptors))
        asked = zip(parts, boxes, strict=True)
        found = [self.index.search(part, self._k, box, prior.minutes) for part, box in asked]
        return found[0] if len(found) == 1 else Candidates.joined(found)

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


def _batches(descriptors: np.ndarray, positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if len(descriptors) != len(positions):
        raise ValueError(
            "`positions` must say for each of the `descriptors` where it was taken. "
            f"Received: {len(descriptors)} descriptors, {len(positions)} positions"
        )
    for start in range(0, len(descriptors), _BATCH):
        yield descriptors[start : start + _BATCH], positions[start : start + _BATCH]
