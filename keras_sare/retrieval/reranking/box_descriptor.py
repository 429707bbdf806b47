"""Descriptors of boxes of feature maps: MAC and R-MAC, whitened or not."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from keras_sare.layers.rmac import region_grid
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
@dataclasses.dataclass(frozen=True)
class BoxDescriptor:
    """Computes R-MAC, or MAC, of boxes of a feature map: exact maxima, nothing is approximated.

    The maxima of each region are L2-normalised, whitened, summed and L2-normalised, as `keras_sare.layers.RMAC` does
    on the whole map. It must be what made the descriptors that the boxes are compared with.

    Attributes:
        levels: scales of R-MAC; 0 for MAC, the maxima of the box as a whole.
        whiten: takes unit vectors float32 [n, channels] and gives whitened unit vectors [n, D], for example
            `FittedWhitening.apply`; None for no whitening. It is called from several threads.

    Raises:
        ValueError: `levels` is negative.
    """

    levels: int = 3
    whiten: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        if self.levels < 0:
            raise ValueError(f"`levels` must be at least 1, or 0 for MAC. Received: levels={self.levels}")

    def __call__(self, activations: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Describes boxes.

        Args:
            activations: [height, width, channels] after the ReLU, any real dtype.
            boxes: int64 [n, 4]: y1, x1, y2, x2 in positions; the last two are beyond the box.

        Returns:
            Unit vectors, float32 [n, channels], or [n, D] with whitening.
        """
        maxima = [self._region_maxima(activations[y1:y2, x1:x2]) for y1, x1, y2, x2 in boxes.tolist()]
        vectors = _normalised(np.concatenate(maxima).astype(np.float32))
        if self.whiten is not None:
            vectors = self.whiten(vectors)
        firsts = np.cumsum([0] + [len(regions) for regions in maxima[:-1]])
        return _normalised(np.add.reduceat(vectors, firsts, axis=0))

    def _region_maxima(self, box: np.ndarray) -> np.ndarray:
        if not self.levels:
            return box.max(axis=(0, 1))[None]
        # Regions beside each other share their rows' maxima.
        bands: dict[tuple[int, int], np.ndarray] = {}
        maxima = []
        for y, x, height, width in _regions(*box.shape[:2], self.levels):
            if (y, height) not in bands:
                bands[y, height] = box[y : y + height].max(axis=0)
            maxima.append(bands[y, height][x : x + width].max(axis=0))
        return np.stack(maxima)


@functools.cache
def _regions(height: int, width: int, levels: int) -> list[tuple[int, int, int, int]]:
    return region_grid(height, width, levels)


def _normalised(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt(np.maximum(np.vecdot(rows, rows), np.float32(1e-12)))[:, None]
