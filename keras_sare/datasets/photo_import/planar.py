"""Positions of photos in metres."""

import numpy as np

from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.places.spatial import earth_centred
from keras_sare.datasets.places.transverse_mercator import to_utm, utm_zone

_WIDEST = 9.0
"""Degrees from a zone's middle to the far border of the next: beyond it the plane stretches by more than 1 %."""
_FARTHEST_NORTH = 84.0


def metric_positions(photos: PhotoList) -> tuple[np.ndarray, str]:
    """Gives all photos positions in one system, so that distances hold across the borders of UTM's zones.

    Args:
        photos: all with a position, at least one.

    Returns:
        float64 [N, 2] in the UTM zone in whose middle the photos lie, for all of them, or [N, 3] earth-centred where
        they span more than its neighbours; and the name of the system.
    """
    earth = earth_centred(photos.latitudes, photos.longitudes)
    middle = earth.mean(axis=0)
    zone = utm_zone(float(np.degrees(np.arctan2(middle[1], middle[0]))))
    south = bool(middle[2] < 0)
    from_middle = (photos.longitudes - (6 * zone - 183) + 180) % 360 - 180
    if np.abs(from_middle).max() > _WIDEST or np.abs(photos.latitudes).max() > _FARTHEST_NORTH:
        return earth, "degrees"
    return to_utm(photos.latitudes, photos.longitudes, zone, south), f"UTM zone {zone}{'S' if south else 'N'}"
