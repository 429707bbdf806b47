"""UTM coordinates: of degrees, back to degrees, and of one zone seen from another."""

import numpy as np

_AXIS = 6378137.0
_FLATTENING = 1 / 298.257223563
_ECCENTRICITY = np.sqrt(_FLATTENING * (2 - _FLATTENING))
_SCALE = 0.9996
_FALSE_EASTING = 500_000.0
_FALSE_NORTHING = 10_000_000.0
_ZONES = 60
_ZONE_DEGREES = 6.0

# Krueger's series in the third flattening, to its third power: right to a millimetre within a zone's neighbours.
_N = _FLATTENING / (2 - _FLATTENING)
_RADIUS = _AXIS / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_ALPHA = (_N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16, 13 * _N**2 / 48 - 3 * _N**3 / 5, 61 * _N**3 / 240)
_BETA = (_N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96, _N**2 / 48 + _N**3 / 15, 17 * _N**3 / 480)
_DELTA = (2 * _N - 2 * _N**2 / 3 - 2 * _N**3, 7 * _N**2 / 3 - 8 * _N**3 / 5, 56 * _N**3 / 15)


def utm_zone(longitude: float) -> int:
    """The zone of a longitude, degrees: 1 to 60. Exceptions of Norway and Svalbard are left out."""
    return int((longitude + 180) // _ZONE_DEGREES) % _ZONES + 1


def to_utm(latitude: np.ndarray, longitude: np.ndarray, zone: int, south: bool = False) -> np.ndarray:
    """Converts WGS84 degrees to UTM; positions beyond the zone's borders go on in its plane.

    Args:
        latitude: float64 [N] degrees.
        longitude: float64 [N] degrees.
        zone: 1 to 60, for all positions.
        south: whether northings count from 10 000 km south of the equator, for all positions.

    Returns:
        float64 [N, 2] easting and northing, metres.
    """
    sine = np.sin(np.radians(latitude))
    conformal = np.arctan(np.sinh(np.arctanh(sine) - _ECCENTRICITY * np.arctanh(_ECCENTRICITY * sine)))
    # The short way around the globe, for zones beside the date line.
    meridian = (np.asarray(longitude) - _middle(zone) + 180) % 360 - 180
    return _plane(conformal, np.radians(meridian), south)


def from_utm(positions: np.ndarray, zone: int, south: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Converts UTM to WGS84 degrees; see `to_utm`.

    Returns:
        Latitude and longitude, float64 [N] each; longitudes in [-180, 180).
    """
    conformal, meridian = _sphere(positions, south)
    latitude = conformal + sum(delta * np.sin(2 * j * conformal) for j, delta in enumerate(_DELTA, 1))
    return np.degrees(latitude), (np.degrees(meridian) + _middle(zone) + 180) % 360 - 180


def in_next_zone(positions: np.ndarray, zones: int, south: bool = False) -> np.ndarray:
    """Writes UTM positions as another zone would.

    Which zone they are of does not matter: all zones are alike.

    Args:
        positions: float64 [N, 2] easting and northing, metres.
        zones: how many zones farther east, such as 1 or -1.
        south: whether northings count from 10 000 km south of the equator.

    Returns:
        float64 [N, 2] easting and northing in the other zone.
    """
    conformal, meridian = _sphere(positions, south)
    # The conformal latitude is the same in every zone, so the geodetic one need not be computed.
    return _plane(conformal, meridian - zones * np.radians(_ZONE_DEGREES), south)


def _middle(zone: int) -> float:
    """The zone's middle meridian, degrees."""
    return _ZONE_DEGREES * zone - 183


def _sphere(positions: np.ndarray, south: bool) -> tuple[np.ndarray, np.ndarray]:
    """Conformal latitude, and longitude from the zone's middle, radians."""
    xi = (positions[:, 1] - south * _FALSE_NORTHING) / (_SCALE * _RADIUS)
    eta = (positions[:, 0] - _FALSE_EASTING) / (_SCALE * _RADIUS)
    plain = xi + 1j * eta
    plain = plain - sum(beta * np.sin(2 * j * (xi + 1j * eta)) for j, beta in enumerate(_BETA, 1))
    conformal = np.arcsin(np.clip(np.sin(plain.real) / np.cosh(plain.imag), -1, 1))
    return conformal, np.arctan2(np.sinh(plain.imag), np.cos(plain.real))


def _plane(conformal: np.ndarray, meridian: np.ndarray, south: bool) -> np.ndarray:
    """Easting and northing of what `_sphere` gives."""
    t = np.tan(conformal)
    sphere = np.arctan2(t, np.cos(meridian)) + 1j * np.arcsinh(np.sin(meridian) / np.hypot(t, np.cos(meridian)))
    other = sphere + sum(alpha * np.sin(2 * j * sphere) for j, alpha in enumerate(_ALPHA, 1))
    scaled = _SCALE * _RADIUS * other
    return np.stack([scaled.imag + _FALSE_EASTING, scaled.real + south * _FALSE_NORTHING], axis=1)
