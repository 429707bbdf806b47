"""Photos that a model is rounded for, where few bits are left."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.fidelity.photos import ADVICE, MAX_CORRUPT_SHARE_OF_SAMPLE, spread
from export.run_photos import dataset_of, photos_of_models
from export.source import Size
from keras_sare.datasets import ImageFolder, image_batches, open_splits
from keras_sare.datasets.images.readable_images import readable_images

logger = logging.getLogger("keras_sare.export")

COUNT = 32
"""Photos that calibration takes. Their pixels are kept in memory."""

_BATCH = 4


class CalibrationPhotos:
    """A few photos of the kind that a model is for, as it is fed with them.

    Args:
        paths: image files; `COUNT` of them are taken, spread evenly, less those that cannot be read.
        size: (height, width) that they are resized to, or the limit of their longer side.
        orientation: "upright" or "stored": how they are read.
        antialias: whether those that shrink are antialiased.

    Raises:
        ValueError: there are none, or more than half of those taken cannot be read.
    """

    def __init__(self, paths: np.ndarray, size: Size, orientation: str = "upright", antialias: bool = True) -> None:
        if not len(paths):
            raise ValueError("`paths` must hold at least one photo to calibrate with. Received: none")
        chosen = paths[spread(len(paths), COUNT)]
        folder = str(Path(chosen[0]).parent)
        kept = readable_images(chosen, folder, "calibration", MAX_CORRUPT_SHARE_OF_SAMPLE, ADVICE)
        self.paths = chosen[kept]
        self.size = size
        self.orientation = orientation
        self.antialias = antialias

    def batches(self) -> Iterator[np.ndarray]:
        """Yields the photos, float32 [batch, height, width, 3], RGB in 0..255."""
        batches = image_batches(self.paths, self.size, _BATCH, None, self.orientation, self.antialias)
        return (images.numpy() for _, images in batches)


def choose_calibration(
    settings: Mapping[str, Any],
    size: Size,
    folder: str | None,
    root: str | None,
    prefix: str,
    orientation: str = "upright",
    antialias: bool = True,
) -> CalibrationPhotos | None:
    """Takes photos of the folder that was named; else of the dataset's training split; else those of the run.

    Args:
        settings: of the run, empty where there is none.
        size: of the images.
        folder: of photos.
        root: folder of a dataset of places; by default the run's.
        prefix: of its .mat files.
        orientation: "upright" or "stored": how images are read.
        antialias: whether images that shrink are antialiased.

    Returns:
        The photos; None where there are none at hand.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder has no photos, or too many cannot be read.
    """
    how = size, orientation, antialias
    if folder is not None:
        return CalibrationPhotos(np.asarray(ImageFolder(folder).paths(), np.dtypes.StringDType()), *how)
    root, prefix = dataset_of(settings, root, prefix)
    if root is not None:
        training = open_splits(root, prefix).get("train")
        if training is not None:
            return CalibrationPhotos(training.database.paths, *how)
        logger.info("%s has no training split to calibrate with: photos can be named with --calibration", root)
    paths = photos_of_models(settings, "train")
    return None if paths is None else CalibrationPhotos(paths, *how)
