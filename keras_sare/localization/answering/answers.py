"""Where photos were taken, and how sure that is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from keras_sare.localization.candidates import Candidates


@dataclass(frozen=True, eq=False)
class Answers:
    """Where Q photos were taken.

    Answers of a kind that the index has no calibration for (of re-ranked photos, of photos near a rough position, of
    walks; see `Calibration`) have no probability: NaN. They are not known where it has one of another kind.

    Attributes:
        candidates: the most similar photos of the index.
        positions: float64 [Q, 2], as the index has them: easting and northing, or latitude and longitude; NaN where
            there was no candidate.
        probability: float64 [Q] that the position is within the calibration's radius; NaN without a calibration.
        uncertainty: float64 [Q] metres within which nine of ten such answers are; NaN without a calibration.
        known: bool [Q], whether the answer is sure enough; without any calibration, whether there is one.
        similarity: float64 [Q] of the best candidate at the position; of a walk's photo that has none there, of its
            last candidate. NaN where there is no candidate.
        inliers: int64 [Q, k], points that a photo shares with a candidate, -1 where they were not compared; None where
            nothing was re-ranked. Candidates are then in falling order of inliers, before those not compared.
        posterior: float64 [Q] of a walk's photos, the probability that the model of the walk gives (`Track`), which no
            photos with known positions have checked: it tells which answers are surer. None of single photos.
    """

    candidates: Candidates
    positions: np.ndarray
    probability: np.ndarray
    uncertainty: np.ndarray
    known: np.ndarray
    similarity: np.ndarray
    inliers: np.ndarray | None = None
    posterior: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """Answers to some photos and then to others, located in the same way."""
        arrays = {name: [getattr(part, name) for part in parts] for name, _ in parts[0]._arrays()}
        candidates = Candidates.joined([part.candidates for part in parts])
        return cls(candidates, **{name: np.concatenate(values) for name, values in arrays.items()})

    def subset(self, rows: np.ndarray) -> "Answers":
        """Those of some photos, in that order."""
        return Answers(self.candidates.subset(rows), **{name: values[rows] for name, values in self._arrays()})

    @property
    def surest(self) -> int:
        """Number of the photo whose answer is the surest, which is the one for a walk; -1 where there is none.

        By the walk's model, of single photos by their probability, and of those without one by their similarity.
        """
        there = np.isfinite(self.positions).all(axis=1)
        measures = [one for one in (self.posterior, self.probability) if one is not None and np.isfinite(one).any()]
        by = next(iter(measures), self.similarity)
        return int(np.where(there, np.nan_to_num(by, nan=-2.0), -np.inf).argmax()) if there.any() else -1

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        for field in fields(self):
            values = getattr(self, field.name)
            if field.name != "candidates" and values is not None:
                yield field.name, values
