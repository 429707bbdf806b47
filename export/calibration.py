"""Photos that a model is rounded for, where few bits are left."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.source import Size
from keras_sare.datasets import ImageFolder, find_corrupt, image_batches, open_splits

logger = logging.getLogger("keras_sare.export")

COUNT = 32
"""Photos that calibration takes. Their pixels are kept in memory."""

_BATCH = 4


class CalibrationPhotos:
    """A few photos of the kind that a model is for, as it is fed with them.

    Args:
        paths: image files; `COUNT` of them are taken, spread evenly.
        size: (height, width) that they are resized to, or the limit of their longer side.

    Raises:
        ValueError: there are none, or one of those taken cannot be read.
    """

    def __init__(self, paths: np.ndarray, size: Size) -> None:
        if not len(paths):
            raise ValueError("`paths` must hold at least one photo to calibrate with. Received: none")
        chosen = np.linspace(0, len(paths) - 1, min(COUNT, len(paths))).round().astype(int)
        self.paths, self.size = paths[chosen], size
        if corrupt := find_corrupt(self.paths):
            bad, reason = next(iter(corrupt.items()))
            raise ValueError(
                f"Photos to calibrate with must be readable; {len(corrupt)} of {len(self.paths)} are not: mend or "
                f"remove them. Received: {self.paths[bad]}: {reason}"
            )

    def batches(self) -> Iterator[np.ndarray]:
        """Yields the photos, float32 [batch, height, width, 3], RGB in 0..255."""
        return (images.numpy() for _, images in image_batches(self.paths, self.size, _BATCH))


def choose_calibration(
    settings: Mapping[str, Any], size: Size, folder: str | None, root: str | None, prefix: str
) -> CalibrationPhotos | None:
    """Takes photos of the folder that was named; else of the training split of the dataset.

    Args:
        settings: of the run, empty where there is none.
        size: of the images.
        folder: of photos.
        root: folder of a dataset of places; by default the run's.
        prefix: of its .mat files.

    Returns:
        The photos; None where neither is at hand.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder has no photos, or one cannot be read.
    """
    if folder is not None:
        return CalibrationPhotos(np.asarray(ImageFolder(folder).paths(), np.dtypes.StringDType()), size)
    if root is None and "root" in settings and Path(settings["root"]).is_dir():
        root, prefix = settings["root"], prefix or settings.get("prefix", "")
    if root is None:
        return None
    training = open_splits(root, prefix).get("train")
    if training is None:
        logger.info("%s has no training split to calibrate with: name photos with --calibration", root)
        return None
    return CalibrationPhotos(training.database.paths, size)
