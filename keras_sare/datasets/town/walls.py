"""Upright walls over a flat ground, and the rays that meet them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Walls:
    """Upright rectangles on the ground, looked at from where `start` is on the left.

    Attributes:
        start: float [walls, 2], metres along and across the street.
        end: float [walls, 2].
        front: int [walls], index of the front that covers the wall.
        height: float [walls], metres.
    """

    start: np.ndarray
    end: np.ndarray
    front: np.ndarray
    height: np.ndarray

    @classmethod
    def join(cls, parts: list["Walls"]) -> "Walls":
        """Concatenates several groups of walls."""
        fields = ("start", "end", "front", "height")
        return cls(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))


def cast(walls: Walls, eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the nearest wall on each ray.

    Args:
        walls: the walls.
        eye: float [2], metres along and across the street.
        rays: float [rays, 2], directions; depth is counted in multiples of them.

    Returns:
        The index of the wall int [rays], its depth float [rays], infinite where the ray meets none, and the distance
        of the meeting point from the wall's start, float [rays], metres.
    """
    edge = walls.end - walls.start
    towards = walls.start - eye
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = _cross(rays[:, None], edge)
        depth = _cross(towards, edge) / determinant
        share = _cross(towards, rays[:, None]) / determinant
        depth = np.where((depth > 0.05) & (share >= 0) & (share < 1), depth, np.inf)
    hit = depth.argmin(1)
    nearest = np.arange(len(rays)), hit
    met = np.isfinite(depth[nearest])
    return hit, depth[nearest], np.where(met, share[nearest], 0) * np.hypot(*edge.T)[hit]


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
