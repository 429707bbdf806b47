"""How right answers are, measured on photos whose position is known."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from keras_sare.evaluation.measures import bootstrap, numbers
from keras_sare.evaluation.measures.bootstrap import Statistic
from keras_sare.evaluation.measures.measure_files import Measure, finite_or_none, mean_of, shown_measure
from keras_sare.localization.answering.answers import Answers
from keras_sare.localization.calibration import calibration_error
from keras_sare.localization.localizer import DescriptorLocalizer
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.files import atomic_path

NS = (1, 5, 10, 20)
"""Candidates among which one that is right counts."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Answers to Q photos, and the truth.

    Attributes:
        radius: metres within which an answer is right.
        errors: float64 [Q] metres between the position that was answered and the truth; infinite without an answer.
        ranks: int64 [Q], the first candidate within the radius; k where there is none.
        k: candidates of each photo.
        answers: what was answered.
    """

    radius: float
    errors: np.ndarray
    ranks: np.ndarray
    k: int
    answers: Answers

    @classmethod
    @plain_arguments
    def of(
        cls, localizer: DescriptorLocalizer, answers: Answers, truth: np.ndarray, radius: float = 25.0
    ) -> "Accuracy":
        """Compares answers with the truth.

        Args:
            localizer: that answered.
            answers: of Q photos.
            truth: [Q, 2] positions of the photos, as the index has them.
            radius: metres within which an answer is right.

        Raises:
            ValueError: `truth` has not one position for each answer, or there is none.
        """
        truth = np.asarray(truth, np.float64)
        if truth.shape != (len(answers), 2) or not len(truth):
            raise ValueError(f"`truth` must be [{len(answers)}, 2], of one photo at least. Received: {truth.shape}")
        errors = np.nan_to_num(localizer.errors(answers.positions, truth), nan=np.inf)
        k = answers.candidates.scores.shape[1]
        candidates = answers.candidates.positions.reshape(-1, 2)
        away = localizer.errors(candidates, truth.repeat(k, axis=0)).reshape(-1, k)
        near = away <= radius  # False where there is no candidate.
        return cls(radius, errors, np.where(near.any(axis=1), near.argmax(axis=1), k), k, answers)

    @property
    def right(self) -> np.ndarray:
        """Bool [Q], whether the answered position is within the radius."""
        return self.errors <= self.radius

    def measures(self) -> dict[str, Measure]:
        """All numbers by name, with 95 % intervals by bootstrap over the photos.

        Those that need a calibration (AUC-PR, the calibration error, the share within the uncertainty, and what is said
        of known answers) are missing where the index has none of such answers. Of answers of which only some have a
        probability, the calibration error and the share within the uncertainty are of those.
        """
        right = self.right.astype(np.float64)
        of: dict[str, Statistic] = {f"recall@{n}": mean_of(self.ranks < n) for n in NS if n <= self.k}
        of[f"answers within {self.radius:g} m"] = mean_of(right)
        of["median error, m"] = partial(numbers.weighted_median, self.errors)
        if np.isfinite(self.answers.probability).any():
            of |= self._of_calibration(right)
        bounds = bootstrap.intervals(of, len(right))
        once = np.ones((1, len(right)), np.int64)
        return {name: Measure(float(statistic(once)[0]), *bounds[name]) for name, statistic in of.items()}

    def _of_calibration(self, right: np.ndarray) -> dict[str, Statistic]:
        known = self.answers.known.astype(np.int64)
        stated = np.isfinite(self.answers.probability)
        probability = np.nan_to_num(self.answers.probability)
        within = self.errors <= self.answers.uncertainty
        of: dict[str, Statistic] = {
            "known": mean_of(known),
            "right among the known": partial(_share, right, known),
            "AUC-PR": lambda weights: numbers.precision_recall_area(probability, self.right, weights),
            "expected calibration error": lambda weights: calibration_error(probability, right, weights * stated),
            "within the stated uncertainty": partial(_share, within, stated),
        }
        return of if stated.all() else of | {"with a probability": mean_of(stated)}

    def write(self, path: Path) -> str:
        """Writes all numbers as JSON, and returns them as a table, Markdown. The file appears whole or not at all."""
        found = self.measures()
        made = {"level": bootstrap.LEVEL, "resamples": bootstrap.RESAMPLES, "seed": bootstrap.SEED}
        contents = {"radius": self.radius, "photos": len(self.errors), "interval": made, "measures": {}}
        contents["measures"] = {name: finite_or_none(asdict(measure)) for name, measure in found.items()}
        with atomic_path(path) as file:
            file.write_text(json.dumps(contents, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        lines = [f"| {name} | {shown_measure(measure, name)} |" for name, measure in found.items()]
        return "\n".join(["| measure | value (95 % interval) |", "| --- | ---: |", *lines])


def _share(values: np.ndarray, among: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of values [Q] of those `among` whose weight is not 0; 0 where there is none."""
    weights = weights * among
    return np.asarray(weights @ values / np.maximum(1, weights.sum(axis=-1)))
