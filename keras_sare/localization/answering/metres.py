"""Positions of an index in metres, in which they can be compared, and back."""

import numpy as np


def in_metres(positions: np.ndarray, kind: str) -> np.ndarray:
    """Positions as metres.

    Args:
        positions: [..., 2] easting and northing, or latitude and longitude; NaN where there is none.
        kind: of the positions, "metres" or "degrees".

    Returns:
        float64 [..., 2], or [..., 3] earth-centred.
    """
    if kind == "metres":
        return np.asarray(positions, np.float64)
    from keras_sare.datasets import earth_centred  # With it comes TensorFlow: seconds, and 700 MB.

    flat = np.reshape(positions, (-1, 2))
    there = np.isfinite(flat).all(axis=1)
    metres = np.full((len(flat), 3), np.nan)
    metres[there] = earth_centred(*flat[there].T)
    return metres.reshape(*np.shape(positions)[:-1], 3)


def as_indexed(metres: np.ndarray, kind: str) -> np.ndarray:
    """The other way round: [..., 2 or 3] metres as positions of that kind, float64 [..., 2]."""
    if kind == "metres":
        return metres
    from keras_sare.datasets import geodetic

    return geodetic(metres)


def moved(positions: np.ndarray, metres: np.ndarray, kind: str) -> np.ndarray:
    """Positions so many metres to the east and north, on the ground.

    Args:
        positions: [n, 2] easting and northing, or latitude and longitude.
        metres: [n, 2] to the east, to the north; kilometres at most.
        kind: of the positions, "metres" or "degrees".

    Returns:
        float64 [n, 2].
    """
    if kind == "metres":
        return np.asarray(positions + metres, np.float64)
    centre = in_metres(positions, kind)
    latitude, longitude = np.radians(positions.T)
    east = np.stack([-np.sin(longitude), np.cos(longitude), np.zeros_like(longitude)], axis=1)
    down = np.sin(latitude)
    north = np.stack([-down * np.cos(longitude), -down * np.sin(longitude), np.cos(latitude)], axis=1)
    return as_indexed(centre + metres[:, :1] * east + metres[:, 1:] * north, kind)
