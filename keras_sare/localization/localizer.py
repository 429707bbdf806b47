"""Where photos were taken: what an index finds for their descriptors, what that agrees about, and how sure that is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from keras_sare.localization.calibration import Calibration
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.estimates import Estimates, estimate_positions
from keras_sare.localization.place_index import PlaceIndex
from keras_sare.localization.priors.prior import Prior
from keras_sare.localization.reranking.reranked import Reranked, Reranker
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
        inliers: int64 [Q, k], points that a photo shares with a candidate, -1 where they were not compared; None where
            nothing was re-ranked. Candidates are then in falling order of inliers, before those not compared.
    """

    candidates: Candidates
    positions: np.ndarray
    probability: np.ndarray
    uncertainty: np.ndarray
    known: np.ndarray
    similarity: np.ndarray
    inliers: np.ndarray | None = None

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
        k: candidates of each photo. Its answer is made of them; where the index is calibrated, of as many as the
            calibration saw, whatever `k`, for of others its probability would mean nothing.
        precision: share of the answers that should be right among those that are `known`, as far as the photos of the
            calibration can say; answers that are less sure say "don't know". Without a calibration it has no effect.
        radius: metres within which candidates agree.
        reranker: compares candidates with photos whose answer is not `known` otherwise; without a calibration with all.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        index: PlaceIndex,
        k: int = 20,
        precision: float = 0.9,
        radius: float = 25.0,
        reranker: Reranker | None = None,
    ) -> None:
        if k < 1:
            raise ValueError(f"`k` must be positive. Received: k={k}")
        self.index = index
        self._k = k
        self._radius = radius
        self._precision = precision
        self._reranker = reranker
        calibration = index.record.calibration
        self._threshold = 0.0 if calibration is None else calibration.threshold(precision)

    @plain_arguments
    def locate(
        self, descriptors: np.ndarray, prior: Prior | None = None, photos: Sequence[np.ndarray] | None = None
    ) -> Answers:
        """Locates photos.

        Args:
            descriptors: [Q, dim] of norm 1, of the index's model.
            prior: what is known of them already.
            photos: Q, the photos themselves for the re-ranker, each [height, width, 3], RGB in 0..255; a sequence that
                reads one when it is asked for keeps the others out of memory. None re-ranks nothing.

        Returns:
            An answer for each photo. What re-ranking changed has the probability that `PlaceIndex.record.reranked`
            says; where the index has none, that of the answer before.

        Raises:
            ValueError: shapes do not agree, or a value is out of range.
        """
        prior = prior or Prior()
        calibration = self.index.record.calibration
        considered = self._k if calibration is None else calibration.k
        candidates = self._candidates(descriptors, prior, max(considered, self._k))
        estimates = self._estimates(candidates.first(considered), prior)
        there = estimates.best >= 0
        probability = np.full(len(there), np.nan)
        uncertainty = np.full(len(there), np.nan)
        known = there
        if calibration is not None:
            probability[there] = calibration.probability(estimates.features[there])
            uncertainty[there] = calibration.uncertainty(probability[there])
            known = there & (probability >= self._threshold)
        positions = self._as_indexed(estimates.positions)
        shown = candidates.first(self._k)
        answers = Answers(shown, positions, probability, uncertainty, known, estimates.scores)
        if self._reranker is None or photos is None:
            return answers
        unsure = there if calibration is None else there & ~known
        return self._reranked(answers, unsure, self._reranker.rerank(candidates, photos, unsure), considered)

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
            An answer for each photo; `Answers.surest` is the one for the walk. The probability is that of the model,
            see `track_places`, which no photos with known positions have checked: on a hard map it is too sure.
            `known` is whether it reaches `precision`, with or without a calibration.

        Raises:
            ValueError: shapes do not agree, or a value is out of range.
        """
        prior = prior or Prior()
        candidates = self._candidates(descriptors, prior, self._k)
        scores = candidates.scores - self._penalties(candidates, prior)
        track = track_places(scores, self._in_metres(candidates.positions), motion, self._radius)
        known = np.nan_to_num(track.probability) >= self._precision
        positions = self._as_indexed(track.positions)
        there = np.isfinite(candidates.scores)
        chosen = np.where(track.path >= 0, track.path, np.maximum(there.sum(axis=1) - 1, 0))
        similarity = candidates.scores[np.arange(len(chosen)), chosen]
        return Answers(candidates, positions, track.probability, track.uncertainty, known, similarity)

    @plain_arguments
    def calibrate(
        self,
        descriptors: np.ndarray,
        positions: np.ndarray,
        radius: float = 25.0,
        photos: Sequence[np.ndarray] | None = None,
    ) -> Calibration:
        """Learns from photos whose position is known how sure answers are. They must not be in the index themselves.

        Args:
            descriptors: [n, dim] of norm 1, array or memory map.
            positions: [n, 2], as the index has them.
            radius: metres within which an answer is right.
            photos: as for `locate`: the calibration is then one of re-ranked answers. All of them are re-ranked.

        Raises:
            ValueError: see `Calibration.fit`.
        """
        parts = []
        for part in _batches(descriptors, positions):
            candidates = self.index.search(descriptors[part], self._k)
            estimates = self._estimates(candidates)
            features = estimates.features
            if self._reranker is not None and photos is not None:
                own = [photos[number] for number in range(part.start, min(part.stop, len(positions)))]
                reranked = self._reranker.rerank(candidates, own, estimates.best >= 0)
                estimates, features = self._judged(reranked)
            errors = np.linalg.norm(estimates.positions - self._in_metres(positions[part]), axis=-1)
            parts.append((features, errors))
        features, errors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Calibration.fit(features, errors, radius, self._k)

    @plain_arguments
    def errors(self, positions: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Metres between positions [Q, 2] and true ones [Q, 2], both as the index has them; NaN where one is."""
        return np.asarray(np.linalg.norm(self._in_metres(positions) - self._in_metres(truth), axis=-1))

    def _reranked(self, answers: Answers, unsure: np.ndarray, reranked: Reranked, considered: int) -> Answers:
        estimates, features = self._judged(reranked.first(considered))
        similarity = np.take_along_axis(reranked.candidates.scores, np.maximum(estimates.best, 0)[:, None], axis=1)
        shown = reranked.first(self._k)
        placed = replace(
            answers,
            candidates=shown.candidates,
            inliers=shown.inliers,
            positions=np.where(unsure[:, None], self._as_indexed(estimates.positions), answers.positions),
            similarity=np.where(unsure, similarity[:, 0], answers.similarity),
        )
        calibration = self.index.record.reranked
        if calibration is None:
            return placed
        probability = calibration.probability(features)
        sure = probability >= calibration.threshold(self._precision)
        return replace(
            placed,
            probability=np.where(unsure, probability, answers.probability),
            uncertainty=np.where(unsure, calibration.uncertainty(probability), answers.uncertainty),
            known=np.where(unsure, sure, answers.known),
        )

    def _judged(self, reranked: Reranked) -> tuple[Estimates, np.ndarray]:
        """Estimates by similarity and inliers, and features of their calibration."""
        metres = self._in_metres(reranked.candidates.positions)
        estimates = estimate_positions(reranked.evidence, metres, self._radius)
        best = np.maximum(estimates.best, 0)[:, None]
        inliers = np.maximum(np.take_along_axis(reranked.inliers, best, axis=1), 0)
        return estimates, np.concatenate([estimates.features, inliers], axis=1)

    def _candidates(self, descriptors: np.ndarray, prior: Prior, k: int) -> Candidates:
        boxes = prior.boxes(len(descriptors), self.index.record.kind)
        parts = [descriptors] if len(boxes) == 1 else np.split(descriptors, len(descriptors))
        asked = zip(parts, boxes, strict=True)
        found = [self.index.search(part, k, box, prior.minutes) for part, box in asked]
        return found[0] if len(found) == 1 else Candidates.joined(found)

    def _estimates(self, candidates: Candidates, prior: Prior | None = None) -> Estimates:
        scores = candidates.scores if prior is None else candidates.scores - self._penalties(candidates, prior)
        return estimate_positions(scores, self._in_metres(candidates.positions), self._radius)

    def _penalties(self, candidates: Candidates, prior: Prior) -> np.ndarray:
        """What candidates lose by their distance from a rough position: [Q, k]."""
        if prior.near is None or not prior.penalty:
            return np.zeros_like(candidates.scores)
        near = self._in_metres(prior.near.reshape(-1, 1, 2))
        apart = np.linalg.norm(self._in_metres(candidates.positions) - near, axis=2)
        return prior.penalty * np.nan_to_num(apart / prior.within) ** 2

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


def _batches(descriptors: np.ndarray, positions: np.ndarray) -> Iterator[slice]:
    if len(descriptors) != len(positions):
        raise ValueError(
            "`positions` must say for each of the `descriptors` where it was taken. "
            f"Received: {len(descriptors)} descriptors, {len(positions)} positions"
        )
    for start in range(0, len(descriptors), _BATCH):
        yield slice(start, start + _BATCH)
