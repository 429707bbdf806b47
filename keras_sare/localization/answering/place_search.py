"""Candidates of photos in an index, and the positions that they agree about, in metres."""

from dataclasses import dataclass

import numpy as np

from keras_sare.localization.answering.metres import as_indexed, in_metres
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.estimates import Estimates, estimate_positions
from keras_sare.localization.place_index import PlaceIndex
from keras_sare.localization.priors.prior import Prior
from keras_sare.localization.reranking.reranked import Reranked


@dataclass(frozen=True, eq=False)
class PlaceSearch:
    """Looks photos up in an index.

    Attributes:
        index: of the map.
        radius: metres within which candidates agree.
    """

    index: PlaceIndex
    radius: float

    @property
    def kind(self) -> str:
        """Of the index's positions, "metres" or "degrees"."""
        return self.index.record.kind

    def candidates(self, descriptors: np.ndarray, prior: Prior, k: int) -> Candidates:
        """The `k` most similar photos that the prior leaves, of each of the photos."""
        boxes = prior.boxes(len(descriptors), self.kind)
        parts = [descriptors] if len(boxes) == 1 else np.split(descriptors, len(descriptors))
        asked = zip(parts, boxes, strict=True)
        found = [self.index.search(part, k, box, prior.minutes) for part, box in asked]
        return found[0] if len(found) == 1 else Candidates.joined(found)

    def estimates(self, candidates: Candidates, prior: Prior) -> Estimates:
        """The positions that candidates agree about."""
        return estimate_positions(self.scores(candidates, prior), self.in_metres(candidates.positions), self.radius)

    def reranked_estimates(self, reranked: Reranked) -> tuple[Estimates, np.ndarray]:
        """Estimates by similarity and inliers, and the features of their calibration."""
        metres = self.in_metres(reranked.candidates.positions)
        estimates = estimate_positions(reranked.evidence, metres, self.radius)
        best = np.maximum(estimates.best, 0)[:, None]
        inliers = np.maximum(np.take_along_axis(reranked.inliers, best, axis=1), 0)
        return estimates, np.concatenate([estimates.features, inliers], axis=1)

    def scores(self, candidates: Candidates, prior: Prior) -> np.ndarray:
        """Similarities, less what candidates lose by their distance from a rough position: [Q, k]."""
        if prior.near is None or not prior.penalty:
            return candidates.scores
        near = self.in_metres(prior.near.reshape(-1, 1, 2))
        apart = np.linalg.norm(self.in_metres(candidates.positions) - near, axis=2)
        return candidates.scores - prior.penalty * np.nan_to_num(apart / prior.within) ** 2

    def in_metres(self, positions: np.ndarray) -> np.ndarray:
        """See `in_metres`."""
        return in_metres(positions, self.kind)

    def as_indexed(self, metres: np.ndarray) -> np.ndarray:
        """See `as_indexed`."""
        return as_indexed(metres, self.kind)

    def errors(self, positions: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Metres between positions [Q, 2] and true ones [Q, 2], both as the index has them; NaN where one is."""
        return np.asarray(np.linalg.norm(self.in_metres(positions) - self.in_metres(truth), axis=-1))
