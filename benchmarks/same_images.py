"""What both sides compute on."""

import numpy as np

CLUSTERS = 64
THREADS = 2


def pixels(size: tuple[int, int], count: int) -> np.ndarray:
    """Images of coloured squares, uint8 [count, height, width, 3]; the same ones in every process."""
    height, width = size
    coarse = np.random.RandomState(0).randint(0, 256, (count, -(-height // 16), -(-width // 16), 3), np.uint8)
    return coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width]
