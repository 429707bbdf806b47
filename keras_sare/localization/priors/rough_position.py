"""Rough positions of photos whose position is known, as if it were not."""

import numpy as np

from keras_sare.localization.answering.metres import moved
from keras_sare.localization.priors.prior import Prior


def rough_position(positions: np.ndarray, within: float, kind: str, seed: int = 0) -> Prior:
    """What would be known of photos whose position is known roughly.

    Args:
        positions: [n, 2], where the photos were taken.
        within: metres; two standard deviations of the error in each direction.
        kind: of the positions.
        seed: of the errors.
    """
    errors = np.random.default_rng(seed).normal(0, within / 2, (len(positions), 2))
    return Prior(near=moved(positions, errors, kind), within=within)
