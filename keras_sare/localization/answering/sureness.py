"""What calibrations say of answers."""

from dataclasses import dataclass

import numpy as np

from keras_sare.localization.index_record import IndexRecord


@dataclass(frozen=True, eq=False)
class Sureness:
    """How sure answers to Q photos are; see `Answers`.

    Attributes:
        probability: float64 [Q].
        uncertainty: float64 [Q] metres.
        known: bool [Q].
    """

    probability: np.ndarray
    uncertainty: np.ndarray
    known: np.ndarray

    @classmethod
    def of_answers(
        cls, record: IndexRecord, of: str, features: np.ndarray, there: np.ndarray, precision: float
    ) -> "Sureness":
        """Judges answers.

        Without any calibration all answers that there are count as known; without one for answers of this kind, none.

        Args:
            record: of the index.
            of: kind of the answers, a key of `calibration.FEATURES`; another where no calibration is of such answers.
            features: [Q, as many as the kind has].
            there: bool [Q], whether there is an answer.
            precision: share of the answers that should be right among those that are known.
        """
        calibration = record.calibrations.get(of)
        if calibration is None:
            nothing = np.full(len(there), np.nan)
            return cls(nothing, nothing, there & (not record.calibrations))
        probability = np.full(len(there), np.nan)
        probability[there] = calibration.probability(features[there])
        known = np.nan_to_num(probability, nan=-1.0) >= calibration.threshold(precision)
        return cls(probability, calibration.uncertainty(probability), known)

    def where(self, chosen: np.ndarray, others: "Sureness") -> "Sureness":
        """This of the answers that are chosen, bool [Q], and that of the others."""
        return Sureness(
            np.where(chosen, self.probability, others.probability),
            np.where(chosen, self.uncertainty, others.uncertainty),
            np.where(chosen, self.known, others.known),
        )
