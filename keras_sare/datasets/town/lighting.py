"""Day, evening and night over the rendered town."""

from dataclasses import dataclass

import numpy as np

CONDITIONS = ("day", "evening", "night")


@dataclass(frozen=True)
class Lighting:
    """The light of one photo. Colours are linear RGB, float [3].

    Attributes:
        ambient: light in the shade.
        sun: light added where the sun falls.
        shade: height in metres up to which the houses opposite keep the fronts in the shade.
        sky: colour above the roofs.
        horizon: colour of the sky at the horizon, and of the haze.
        lit: share of the windows with a lamp on.
        lamps: strength of the street lamps.
        signs: strength of the lit shop signs.
        noise: standard deviation of the sensor's noise, as a share of full white.
    """

    ambient: np.ndarray
    sun: np.ndarray
    shade: float
    sky: np.ndarray
    horizon: np.ndarray
    lit: float
    lamps: float
    signs: float
    noise: float

    @classmethod
    def draw(cls, condition: str, rng: np.random.Generator) -> "Lighting":
        """Draws the light of a photo taken under `condition`, one of `CONDITIONS`."""
        exposure = rng.uniform(0.75, 1.25)
        shade = float(rng.uniform(-2, 9))
        strength = rng.uniform(0.15, 0.65)
        ambient, sun, sky, horizon = np.array(_COLOURS[condition]) * exposure
        return cls(ambient, strength * sun, shade, sky, horizon, *_LAMPS[condition])


# Ambient light, sun, sky and horizon.
_COLOURS = {
    "day": [(0.55, 0.58, 0.62), (1.00, 0.95, 0.85), (0.35, 0.55, 0.85), (0.75, 0.80, 0.85)],
    "evening": [(0.36, 0.30, 0.31), (1.00, 0.62, 0.35), (0.40, 0.33, 0.48), (0.90, 0.50, 0.28)],
    "night": [(0.09, 0.10, 0.15), (0.00, 0.00, 0.00), (0.008, 0.01, 0.025), (0.04, 0.035, 0.04)],
}
# Lit windows, street lamps, shop signs, noise.
_LAMPS = {
    "day": (0.02, 0.0, 0.0, 0.01),
    "evening": (0.30, 0.25, 0.30, 0.02),
    "night": (0.40, 0.35, 0.60, 0.015),
}
