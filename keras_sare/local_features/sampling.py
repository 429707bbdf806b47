"""Values of a map between its cells."""

from collections.abc import Callable

import numpy as np

_SHARPNESS = -0.75
"""Of the cubic kernel, as PyTorch has it."""


def linear(distances: np.ndarray) -> np.ndarray:
    """Weights of bilinear interpolation; they reach one cell to each side."""
    return np.maximum(1 - distances, 0)


def cubic(distances: np.ndarray) -> np.ndarray:
    """Weights of bicubic interpolation, which reach two cells to each side.

    Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981.
    """
    a = _SHARPNESS
    near = ((a + 2) * distances - (a + 3)) * distances * distances + 1
    far = ((a * distances - 5 * a) * distances + 8 * a) * distances - 4 * a
    return np.where(distances <= 1, near, np.where(distances < 2, far, 0))


def sample(
    values: np.ndarray, points: np.ndarray, weights: Callable[[np.ndarray], np.ndarray], reach: int
) -> np.ndarray:
    """Interpolates a map. Around it everything is zero.

    Args:
        values: float32 [height, width, channels].
        points: float32 [n, 2], x and y in cells, within half a cell of the map; (0, 0) is the centre of the first cell.
        weights: `linear` or `cubic`.
        reach: cells to each side that these look at, 1 or 2.

    Returns:
        float32 [n, channels].
    """
    around = reach + 1
    padded = np.pad(values, [(around, around), (around, around), (0, 0)])
    first = np.floor(points).astype(np.int64)
    total = np.zeros((len(points), values.shape[2]), np.float32)
    for down in range(1 - reach, reach + 1):
        for right in range(1 - reach, reach + 1):
            cells = first + [right, down]
            share = weights(np.abs(points - cells.astype(np.float32)))
            total += (share[:, 0] * share[:, 1])[:, None] * padded[cells[:, 1] + around, cells[:, 0] + around]
    return total
