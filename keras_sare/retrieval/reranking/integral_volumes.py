"""Integral volumes: approximate maxima of feature maps over any box, from the corners of the box alone."""

import math
from collections.abc import Iterator

import numpy as np

from keras_sare.utils.arguments import plain_arguments

_SHARE_LEFT_OUT = 1 / 16


@plain_arguments
def quantise_activations(maps: np.ndarray, limit: float = 128.0, levels: int = 8) -> np.ndarray:
    """Reduces activations to whole levels, a byte each: floor(min(x, limit) / (limit / levels) + 15 / 16).

    By default that is the authors' floor((15 + min(x, 128)) / 16): what is left over above a level counts as a whole
    one but for its last sixteenth, so that an activation that is there at all rarely becomes 0. Whole levels compress
    well and keep the sums of `IntegralVolume` exact.

    Args:
        maps: activations after the ReLU, any shape and real dtype; negative ones count as 0.
        limit: activation from which on all count the same. 128 suits networks that are fed pixels from 0 to 255. The
            activations of networks that are fed normalised pixels are smaller: take the largest of some photos, 32 for
            torchvision's VGG16.
        levels: level of `limit`, 1 to 255. `IntegralVolume` is exact up to 16.

    Returns:
        uint8, the shape of `maps`.

    Raises:
        ValueError: `limit` is not positive, or `levels` is out of range.
    """
    if not limit > 0:
        raise ValueError(f"`limit` must be positive. Received: limit={limit}")
    if not 1 <= levels <= 255:
        raise ValueError(f"`levels` must be between 1 and 255. Received: levels={levels}")
    # limit / levels first: dividing by the authors' 16 is exact.
    scaled = np.clip(maps, 0, limit) / (limit / levels)
    return (scaled + (1 - _SHARE_LEFT_OUT)).astype(np.uint8)


@plain_arguments
class IntegralVolume:
    """Sums of x^power over the boxes of a feature map, and with them approximate maxima: (sum x^power)^(1 / power).

    The sum over a box is what four running sums at its corners leave. They are float64: of up to 16 levels, with the
    power 10, they are whole numbers below 2^53 on maps of up to 8000 positions, and every box is exact. In float32 one
    strong activation anywhere in a map would drown the weak ones elsewhere. With more levels, channels that are weak in
    a box but strong elsewhere lose digits.

    One volume serves many maps, and keeps its memory: asking the system for that takes as long as filling it.

    Reference: Tolias, Sicre, Jegou, "Particular object retrieval with integral max-pooling of CNN activations",
    ICLR 2016, section 4.1.

    Args:
        power: alpha in the paper. The greater, the nearer to the maximum.

    Attributes:
        power: as given.
        height: of the map that is loaded, in positions.
        width: likewise.

    Raises:
        ValueError: `power` is below 1.
    """

    def __init__(self, power: int = 10) -> None:
        if power < 1:
            raise ValueError(f"`power` must be at least 1. Received: power={power}")
        self.power = power
        self.height = 0
        self.width = 0
        self._powers = np.arange(256, dtype=np.float64) ** power
        self._memory = np.empty(0)
        self._sums = np.zeros((1, 1, 0))

    def load(self, activations: np.ndarray) -> None:
        """Computes the running sums of a map, in place of those of the map before.

        Args:
            activations: uint8 [height, width, channels], see `quantise_activations`.

        Raises:
            ValueError: it is no uint8 map with at least one position and channel.
        """
        if activations.dtype != np.uint8 or activations.ndim != 3 or not activations.size:
            raise ValueError(
                "`activations` must be uint8 [height, width, channels] and not empty; see `quantise_activations`. "
                f"Received: dtype={activations.dtype}, shape={activations.shape}"
            )
        self.height, self.width, channels = activations.shape
        sums = self._sums = self._zero_edged(self.height + 1, self.width + 1, channels)
        powers = np.empty((self.width, channels))
        for y, row in enumerate(activations):
            # No byte is out of range: "clip" only lets numpy write into `out` without a copy.
            np.take(self._powers, row, out=powers, mode="clip")
            np.add(sums[y, 1:], powers, out=sums[y + 1, 1:])
        # np.cumsum goes number by number; adding whole slices takes a tenth of the time.
        for x in range(1, self.width):
            np.add(sums[:, x], sums[:, x + 1], out=sums[:, x + 1])

    def sums(self, boxes: np.ndarray) -> np.ndarray:
        """Sums of x^power over boxes.

        Args:
            boxes: int64 [n, 4]: y1, x1, y2, x2 in positions; the last two are beyond the box.

        Returns:
            float64 [n, channels].
        """
        y1, x1, y2, x2 = boxes.T
        return self._sums[y2, x2] - self._sums[y1, x2] - self._sums[y2, x1] + self._sums[y1, x1]

    def grid_sums(self, height: int, widths: list[int], step: int) -> Iterator[np.ndarray]:
        """Sums of x^power over all boxes of some sizes whose corners lie `step` apart.

        Args:
            height: of the boxes.
            widths: of the boxes, rising, equal modulo `step`.
            step: distance of two boxes' corners.

        Yields:
            for each width float64 [boxes in a column, boxes in a row, channels].
        """
        above = self._sums[: self.height - height + 1 : step]
        below = self._sums[height::step]
        columns = slice(None, self.width - widths[0] + 1, step)
        left = below[:, columns] - above[:, columns]
        right = below[:, widths[0] :: step] - above[:, widths[0] :: step]
        for width in widths:
            end = right[:, (width - widths[0]) // step :]
            yield end - left[:, : end.shape[1]]

    def maxima(self, sums: np.ndarray) -> np.ndarray:
        """Approximate maxima of sums: their roots, float32, good to a few parts in ten million."""
        with np.errstate(divide="ignore"):  # The root of 0 is exp(-inf), which is 0.
            logarithms = np.log(sums.astype(np.float32))
        # These two run in vector registers on all processors; x ** 0.1 does on few.
        np.multiply(logarithms, np.float32(1 / self.power), out=logarithms)
        return np.exp(logarithms, out=logarithms)

    def _zero_edged(self, *shape: int) -> np.ndarray:
        size = math.prod(shape)
        if self._memory.size < size:
            self._memory = np.empty(size)
        sums = self._memory[:size].reshape(shape)
        sums[0] = 0
        sums[:, 0] = 0
        return sums
