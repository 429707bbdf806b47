"""Where a photo is taken, and which way each of its pixels looks."""

from dataclasses import dataclass

import numpy as np

EYE = 1.7
"""Height of the lens over the ground in metres."""
FIELD_OF_VIEW = np.radians(80)
HORIZON = 0.64
"""Share of the image height above the horizon: the camera looks slightly up."""


@dataclass(frozen=True)
class Camera:
    """The pose of one photo.

    Attributes:
        along: metres along the street.
        across: metres from the middle of the street.
        yaw: radians; 0 looks along the street, pi / 2 at the side where `across` is positive.
        tilt: share of the image height by which the horizon sits lower.
    """

    along: float
    across: float
    yaw: float
    tilt: float = 0.0


class View:
    """The lines of sight of a photo of `height` by `width` pixels.

    Attributes:
        eye: float [2], metres along and across the street.
        forward: float [2], direction of the optical axis.
        right: float [2], direction to the right of the photo.
        slope: float [width], how far a column's sight goes to the right in a metre forward.
        drop: float [height], how far a row's sight falls in a metre forward.
        rays: float [width, 2], ground directions of the columns, one metre forward each.
    """

    def __init__(self, camera: Camera, height: int, width: int) -> None:
        focal = width / 2 / np.tan(FIELD_OF_VIEW / 2)
        self.eye = np.array([camera.along, camera.across])
        self.forward = np.array([np.cos(camera.yaw), np.sin(camera.yaw)])
        self.right = np.array([self.forward[1], -self.forward[0]])
        self.slope = (np.arange(width) + 0.5 - width / 2) / focal
        self.drop = (np.arange(height) + 0.5 - (HORIZON + camera.tilt) * height) / focal
        self.rays = self.forward + self.slope[:, None] * self.right
