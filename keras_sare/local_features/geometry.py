"""Matches that one geometry of two cameras explains: what chance matches do not."""

import numpy as np

from keras_sare.datasets.sfm.sfm_pycolmap import quiet_pycolmap

_FEWEST = 8
"""Matches: fewer fix no fundamental matrix."""


def count_inliers(one: np.ndarray, other: np.ndarray, error: float = 4.0, trials: int = 1000) -> int:
    """Counts matches that agree with the fundamental matrix that most of them agree with, found by LO-RANSAC.

    Args:
        one: [m, 2], x and y in pixels of the matched points of a photo.
        other: [m, 2], of those of another.
        error: pixels that a match may be off.
        trials: samples drawn at most. The same matches give the same count.

    Returns:
        Number of inliers; 0 where there are fewer than 8 matches or no such matrix.

    Raises:
        ImportError: pycolmap is not installed.
    """
    if len(one) < _FEWEST:
        return 0
    with quiet_pycolmap() as pycolmap:
        options = pycolmap.RANSACOptions(
            max_error=error, min_num_trials=min(100, trials), max_num_trials=trials, random_seed=1
        )
        found = pycolmap.estimate_fundamental_matrix(np.float64(one), np.float64(other), options)
    return 0 if found is None else int(found["num_inliers"])
