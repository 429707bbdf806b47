"""Local features of a photo."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Keypoints of a photo and what describes them, the surest first.

    Attributes:
        keypoints: float32 [n, 2], x and y in pixels of the photo; (0, 0) is the centre of the first pixel.
        scores: float32 [n], in (0, 1], how sure a keypoint is that it can be found and matched again.
        descriptors: float32 [n, dim] of norm 1.
        size: height and width of the photo in pixels.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    descriptors: np.ndarray
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.keypoints.nbytes + self.scores.nbytes + self.descriptors.nbytes
