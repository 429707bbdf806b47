"""Which photos the artefacts of an export are measured on."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.fidelity.photos import MAX_CORRUPT_SHARE, FidelityPhotos
from export.run_photos import dataset_of, photos_of_models
from export.source import Size
from keras_sare.datasets import PlaceDataset, open_splits

logger = logging.getLogger("keras_sare.export")

_PHOTOS_OF_MODELS = 100
"""Without `max_images`: a run may have 100 000 of them, and they give cosines only."""


def choose_photos(
    settings: Mapping[str, Any],
    images: str | None,
    root: str | None,
    prefix: str,
    split: str,
    max_images: int | None,
    folder: Path,
    size: Size | None = None,
    radius: float | None = None,
) -> FidelityPhotos:
    """Takes the photos that were named, else those that the run was evaluated on, else pictures that are rendered.

    A run of `trainers.retrieval_sfm` was evaluated on its validation photos, which calibration does not see: at most
    100 of them are taken where `max_images` does not say otherwise, for cosines.

    Args:
        settings: of the run, empty where there is none.
        images: folder of photos without positions: cosines are measured, no recall.
        root: folder of a dataset of places.
        prefix: of its .mat files, where it holds several datasets.
        split: of the dataset.
        max_images: most photos to take.
        folder: an empty one, for rendered pictures.
        size: of the images, for rendered pictures.
        radius: metres within which a database image is right; None takes that of the run, or 25.

    Raises:
        FileNotFoundError: there is no such dataset or folder.
        ValueError: both `images` and `root` are given, the dataset has no such split or no positives in it, or photos
            cannot be read.
    """
    if images and root:
        raise ValueError(f"`images` and `root` exclude each other. Received: images={images!r}, root={root!r}")
    if images:
        return FidelityPhotos.of_files(images, max_images)
    root, prefix = dataset_of(settings, root, prefix)
    if root is None and (paths := photos_of_models(settings, "val")) is not None:
        photos = paths.tolist()
        return FidelityPhotos.of_files(photos, max_images or _PHOTOS_OF_MODELS, "validation photos of the run")
    if root is None:
        logger.info("Measuring on rendered pictures. --root=DATASET gives recalls, --images=FOLDER cosines of photos")
        return FidelityPhotos.rendered(folder, size)
    splits = open_splits(root, prefix)
    if split not in splits:
        raise ValueError(f"`split` must be one of {', '.join(splits)}. Received: split={split!r}, root={root!r}")
    places = _as_in_the_run(splits[split], settings)
    max_corrupt_share = settings.get("max_corrupt_share", MAX_CORRUPT_SHARE)
    radius = settings.get("negative_radius", FidelityPhotos.radius) if radius is None else radius
    return FidelityPhotos.of_places(places, max_images, radius, max_corrupt_share)


def _as_in_the_run(places: PlaceDataset, settings: Mapping[str, Any]) -> PlaceDataset:
    """Lets timestamps say what is right as they did in the run, where there are any."""
    chosen = settings.get("other_timestamps")
    if chosen is None or places.database.timestamps is None or places.queries.timestamps is None:
        return places
    return dataclasses.replace(places, other_timestamps=chosen)
