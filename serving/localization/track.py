"""Where the photos of a map are, few enough to be sent and drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt

import numpy as np

from keras_sare.localization import PlaceIndex

MOST_POSITIONS = 20_000
"""That are sent of a map."""


@dataclass(frozen=True)
class Track:
    """Positions of a map.

    Attributes:
        version: of the index.
        photos: in the index.
        bounds: least and most of both axes, `[[lo, lo], [hi, hi]]`; None where there is no photo.
        positions: of the photos, or one of each cell of a grid where they are many.
    """

    version: int
    photos: int
    bounds: list[list[float]] | None
    positions: list[list[float]]


def track_of(index: PlaceIndex, most: int = MOST_POSITIONS) -> Track:
    """Reads the positions of an index batch by batch; where they are too many, twice.

    Args:
        index: of the map. Photos may come and go meanwhile.
        most: positions that are kept.
    """
    version = index.version
    photos = 0
    low = np.full(2, np.inf)
    high = np.full(2, -np.inf)
    kept = [np.zeros((0, 2))]
    for batch in index.positions():
        photos += len(batch)
        low = np.minimum(low, batch.min(axis=0, initial=np.inf))
        high = np.maximum(high, batch.max(axis=0, initial=-np.inf))
        kept = [*kept, batch] if photos <= most else []
    if not photos:
        return Track(version, 0, None, [])
    if photos > most:
        kept = _thinned(index.positions(), low, high, isqrt(most))
    return Track(version, photos, [low.tolist(), high.tolist()], np.concatenate(kept).tolist())


def _thinned(batches: Iterable[np.ndarray], low: np.ndarray, high: np.ndarray, side: int) -> list[np.ndarray]:
    """The first position in each of side x side cells."""
    taken = np.zeros(side * side, bool)
    step = np.maximum(high - low, np.finfo(np.float64).tiny) / side
    kept = [np.zeros((0, 2))]
    for batch in batches:
        # What was added between the two readings may lie outside.
        cells = np.clip((batch - low) / step, 0, side - 1).astype(np.int64)
        numbers, first = np.unique(cells[:, 0] * side + cells[:, 1], return_index=True)
        new = ~taken[numbers]
        taken[numbers] = True
        kept.append(batch[np.sort(first[new])])
    return kept
