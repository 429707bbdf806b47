"""Descriptors that are computed once, however often the program that needs them is killed."""

from typing import Any

import keras
import numpy as np

from keras_sare.datasets.landmarks.landmark_dataset import LandmarkDataset
from keras_sare.extraction.array_cache import ArrayCache, model_digest
from keras_sare.extraction.extraction_settings import ExtractionSettings
from keras_sare.extraction.landmark_descriptors import extract_images, extract_landmarks
from keras_sare.models.multi_scale import SCALES, scale_power


class DescriptorCache:
    """Extracts descriptors of images, and caches them.

    Args:
        kept: where.
        settings: how images are extracted.
    """

    def __init__(self, kept: ArrayCache, settings: ExtractionSettings) -> None:
        self.kept = kept
        self.settings = settings

    def landmarks(self, model: keras.Model, data: LandmarkDataset) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors of queries and database, see `extract_landmarks`."""
        crop = self.settings.crop
        boxes = None if data.boxes is None or crop == "none" else data.boxes
        options, origin = self._options(model)
        queries, database = self.kept.get_or_compute(
            [*origin, data.database, data.queries, boxes, crop],
            lambda: extract_landmarks(model, data, crop=crop, **options),
        )
        return queries, database

    def photos(self, model: keras.Model, paths: np.ndarray, name: str) -> np.ndarray:
        """Descriptors of whole images, see `extract_images`."""
        options, origin = self._options(model)
        [descriptors] = self.kept.get_or_compute(
            [*origin, paths], lambda: (extract_images(model, paths, name, **options),)
        )
        return descriptors

    def _options(self, model: keras.Model) -> tuple[dict[str, Any], list[object]]:
        """Options of extraction, and of these what the descriptors depend on."""
        settings = self.settings
        scales = SCALES[settings.scales]
        power = scale_power(model)
        options = {
            "longer_side": settings.longer_side,
            "scales": scales,
            "power": power,
            "batch_size": settings.batch_size,
            "folder": self.kept.folder,
            "memory_limit": settings.memory_limit,
            "orientation": settings.orientation,
        }
        return options, [model_digest(model), settings.longer_side, settings.orientation, scales, power]
