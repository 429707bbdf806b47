"""Where cameras look."""

import numpy as np

from keras_sare.utils.arguments import plain_arguments


@plain_arguments
def heading_difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Degrees between headings, 0 to 180, float64, of any shapes that broadcast; NaN where one is not known."""
    return np.asarray(np.abs((np.asarray(one, np.float64) - other + 180) % 360 - 180))
