"""Calibrations of maps that were never calibrated, so that tests know what is said to be sure."""

from keras_sare.localization import Calibration


def calibration(weights: tuple[float, float, float], bias: float = 0.0) -> Calibration:
    """One of 100 photos.

    Args:
        weights: of a candidate's score above 0.9 in tenths, of its margin, and of the share that agrees, above a half.
        bias: added to them; the probability is the logistic function of the sum.
    """
    return Calibration(
        radius=25.0,
        mean=(0.9, 0.0, 0.5),
        scale=(0.1, 1.0, 0.5),
        weights=weights,
        bias=bias,
        probabilities=(0.1, 0.5, 0.9),
        radii=(300.0, 40.0, 10.0),
        thresholds=(0.1, 0.5, 0.9),
        precisions=(0.6, 0.9, 1.0),
        photos=100,
    )
