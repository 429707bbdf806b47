"""Positions that cannot be right."""

import numpy as np
from scipy.spatial import cKDTree

from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.places.spatial import earth_centred

_SLACK = 50.0
"""Metres that a receiver is off without being wrong."""
_ALONE = 5000.0
_LEAST = 3
_NULL = 1e-3
"""Degrees around (0, 0), in the sea: what receivers and programs write for what they do not know."""


def faulty_positions(photos: PhotoList, traversals: np.ndarray, max_speed: float) -> np.ndarray:
    """Says which positions are wrong, and why.

    Args:
        photos: those without a position are named so too.
        traversals: StringDType [N], names of the walks.
        max_speed: metres a second, above which a walk jumps.

    Returns:
        StringDType [N], empty where nothing is wrong.
    """
    reasons = np.zeros(len(photos), np.dtypes.StringDType())
    reasons[~photos.located] = "no position"
    null = photos.located & (np.abs(photos.latitudes) < _NULL) & (np.abs(photos.longitudes) < _NULL)
    reasons[null] = "at 0 degrees north, 0 degrees east, which stands for an unknown position"
    kept = np.flatnonzero(reasons == "")
    positions = earth_centred(photos.latitudes[kept], photos.longitudes[kept])
    jumping = kept[_jumps(positions, photos.seconds[kept], traversals[kept], max_speed)]
    reasons[jumping] = f"a jump, faster than {3.6 * max_speed:.0f} km/h from the photos before and after it"
    kept = np.flatnonzero(reasons == "")
    alone = kept[_isolated(earth_centred(photos.latitudes[kept], photos.longitudes[kept]))]
    reasons[alone] = f"farther than {_ALONE / 1000:g} km from all other photos"
    return reasons


def _jumps(positions: np.ndarray, seconds: np.ndarray, traversals: np.ndarray, max_speed: float) -> np.ndarray:
    """Photos that cannot be reached from the longest part of their walk without a jump: bool [N]."""
    jumps = np.zeros(len(positions), bool)
    timed = np.flatnonzero(np.isfinite(seconds))
    if not len(timed):
        return jumps
    walk = np.unique(traversals[timed], return_inverse=True)[1]
    order = timed[np.lexsort((seconds[timed], walk))]
    walks = np.split(order, np.flatnonzero(np.diff(np.sort(walk))) + 1)
    for way in walks:
        far = ~_reachable(positions, seconds, way[:-1], way[1:], max_speed)
        if far.any():
            parts = np.split(way, np.flatnonzero(far) + 1)
            for part in _unreachable(positions, seconds, parts, max_speed):
                jumps[part] = True
    return jumps


def _unreachable(
    positions: np.ndarray, seconds: np.ndarray, parts: list[np.ndarray], max_speed: float
) -> list[np.ndarray]:
    """Parts of a walk that do not fit to its longest one, nor to what fits to that."""
    longest = max(range(len(parts)), key=lambda number: len(parts[number]))
    wrong = []
    for steps in (range(longest + 1, len(parts)), range(longest - 1, -1, -1)):
        last = parts[longest]
        for number in steps:
            part = parts[number]
            ends = (last[-1:], part[:1]) if number > longest else (part[-1:], last[:1])
            if _reachable(positions, seconds, *ends, max_speed).all():
                last = part
            else:
                wrong.append(part)
    return wrong


def _reachable(
    positions: np.ndarray, seconds: np.ndarray, start: np.ndarray, end: np.ndarray, max_speed: float
) -> np.ndarray:
    ways = np.linalg.norm(positions[end] - positions[start], axis=1)
    return np.asarray(ways <= _SLACK + max_speed * (seconds[end] - seconds[start]))


def _isolated(positions: np.ndarray) -> np.ndarray:
    if len(positions) < _LEAST:
        return np.zeros(len(positions), bool)
    return np.asarray(cKDTree(positions).query(positions, k=2)[0][:, 1] > _ALONE)
