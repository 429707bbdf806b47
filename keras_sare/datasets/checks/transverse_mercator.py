"""UTM coordinates of one zone seen from the next, to tell positions that were written in another zone."""

import numpy as np

_AXIS = 6378137.0
_FLATTENING = 1 / 298.257223563
_SCALE = 0.9996
_FALSE_EASTING = 500_000.0
_FALSE_NORTHING = 10_000_000.0
_ZONE = np.radians(6.0)

# Krueger's series in the third flattening, to its third power: right to a millimetre within a zone's neighbours.
_N = _FLATTENING / (2 - _FLATTENING)
_RADIUS = _AXIS / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_ALPHA = (_N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16, 13 * _N**2 / 48 - 3 * _N**3 / 5, 61 * _N**3 / 240)
_BETA = (_N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96, _N**2 / 48 + _N**3 / 15, 17 * _N**3 / 480)


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
    shift = _FALSE_NORTHING if south else 0.0
    xi = (positions[:, 1] - shift) / (_SCALE * _RADIUS)
    eta = (positions[:, 0] - _FALSE_EASTING) / (_SCALE * _RADIUS)
    plain = xi + 1j * eta
    plain = plain - sum(beta * np.sin(2 * j * (xi + 1j * eta)) for j, beta in enumerate(_BETA, 1))
    conformal = np.arcsin(np.clip(np.sin(plain.real) / np.cosh(plain.imag), -1, 1))
    meridian = np.arctan2(np.sinh(plain.imag), np.cos(plain.real)) - zones * _ZONE
    # The conformal latitude is the same in every zone, so the geodetic one need not be computed.
    t = np.tan(conformal)
    sphere = np.arctan2(t, np.cos(meridian)) + 1j * np.arcsinh(np.sin(meridian) / np.hypot(t, np.cos(meridian)))
    other = sphere + sum(alpha * np.sin(2 * j * sphere) for j, alpha in enumerate(_ALPHA, 1))
    scaled = _SCALE * _RADIUS * other
    return np.stack([scaled.imag + _FALSE_EASTING, scaled.real + shift], axis=1)
