"""Photos of a data set as rows of a place index: descriptors, positions, thumbnails."""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from export.index_file import open_map
from keras_sare.datasets import ImageSet, open_splits
from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.localization import IndexRecord, Localizer, PlaceIndex, PlaceRows
from keras_sare.localization.thumbnails import thumbnail
from keras_sare.utils.files import check_writable_folder, free_bytes
from keras_sare.utils.progress import progress
from trainers.config import EvaluateConfig
from trainers.stages.evaluated.evaluated import Evaluated
from trainers.stages.evaluated.open_models import open_models
from trainers.stages.evaluated.resumable import DescriptorFiles

logger = logging.getLogger("keras_sare.index")

_ROWS = 512
_THUMBNAIL_BYTES = 12_000
_ROW_BYTES = 200


@dataclass(frozen=True)
class MapSettings:
    """What a map is made of.

    Attributes:
        root: folder of the data set.
        model: as `trainers.evaluate` takes it: an exported model, a run, an endpoint.
        prefix: first letters of the .mat files' names, where the folder holds several data sets.
        splits: whose database images are taken; all where it is empty.
        image_size, orientation: how photos are read, where the model has no record of it.
        thumbnails: whether small pictures are kept.
        batch: photos whose descriptors are extracted at a time.
        max_corrupt_share: share of the photos that may be unreadable.
    """

    root: Path
    model: str
    prefix: str = ""
    splits: Sequence[str] = ()
    image_size: Sequence[str] = ()
    orientation: str | None = None
    thumbnails: bool = True
    batch: int = 8
    max_corrupt_share: float = 0.01

    def open_model(self) -> Evaluated:
        """Opens the model. See `open_models` for what it raises."""
        config = EvaluateConfig(
            models=(self.model,),
            root=str(self.root),
            image_size=tuple(self.image_size) or None,
            orientation=self.orientation,
        )
        return open_models(config)[0]


def build(folder: Path, settings: MapSettings, calibrate: str = "") -> PlaceIndex:
    """Builds an index. Broken off, the same call goes on from the descriptors that are there.

    Args:
        folder: of the index; it must not exist.
        settings: what it is made of.
        calibrate: split whose queries say how sure answers are; empty for an index without a calibration.

    Raises:
        FileExistsError: there is something in the folder.
        FileNotFoundError: there is no such model or data set.
        ValueError: photos have no positions, or too many cannot be read; see `open_models` for those of the model.
        RuntimeError: another process builds it.
        OSError: the disk is too small.
    """
    if folder.exists():
        raise FileExistsError(f"`index` must be new; use append for one that is there. Received: index={str(folder)!r}")
    check_writable_folder(folder.parent)
    known = _queries(settings, calibrate) if calibrate else None
    model = settings.open_model()
    images = _images(settings)
    unfinished = _unfinished(folder)
    descriptors = _descriptors(folder, model, images, settings)
    reading = None if model.reading is None else model.reading.arguments()
    record = IndexRecord(model.identity, model.name, descriptors.shape[1], _kind(images), reading)
    index = PlaceIndex.create(folder, record, _rows(images, descriptors, settings, model))
    logger.info("Built %s: %d photos, %d dimensions", folder, len(index), record.dim)
    if known is not None:
        _calibrate(index, known, DescriptorFiles(unfinished).of(model, known.paths, settings.batch))
    shutil.rmtree(unfinished)
    return index


def append(folder: Path, settings: MapSettings) -> PlaceIndex:
    """Adds photos to an index, or replaces those whose names are there. Broken off, the same call goes on.

    Args:
        folder: of the index.
        settings: what is added.

    Raises:
        ValueError: the model or the kind of the positions is another than the index's; see `build` for the rest.
    """
    index = PlaceIndex(folder)
    model = settings.open_model()
    index.check_model(model.identity)
    images = _images(settings)
    if _kind(images) != index.record.kind:
        raise ValueError(f"Positions must be in {index.record.kind}, as the index's are. Received: {_kind(images)}")
    descriptors = _descriptors(folder, model, images, settings)
    done = index.append(_rows(images, descriptors, settings, model), model.identity)
    logger.info("%s: %d photos added, %d replaced, %d now", folder, done.added, done.replaced, len(index))
    shutil.rmtree(_unfinished(folder))
    return index


def _images(settings: MapSettings) -> ImageSet:
    images = open_map(settings.root, settings.prefix, settings.splits or None)
    if images.positions is None:
        raise ValueError(
            "The photos must have positions: a place index answers where a photo was taken. "
            f"Received: root={str(settings.root)!r}, which knows places only"
        )
    share = settings.max_corrupt_share
    return images.subset(readable_images(images.paths, settings.root.name, "database", share))


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.unfinished")


def _descriptors(folder: Path, model: Evaluated, images: ImageSet, settings: MapSettings) -> np.ndarray:
    descriptors = DescriptorFiles(_unfinished(folder)).of(model, images.paths, settings.batch)
    _check_disk(folder, len(images), descriptors.shape[1], settings.thumbnails)
    return descriptors


def _kind(images: ImageSet) -> str:
    return "metres" if images.coordinates is None else "degrees"


def _positions(images: ImageSet) -> np.ndarray:
    return np.asarray(images.positions if images.coordinates is None else images.coordinates, np.float64)


def _check_disk(folder: Path, count: int, dim: int, thumbnails: bool) -> None:
    needed = count * (2 * dim + _ROW_BYTES + thumbnails * _THUMBNAIL_BYTES)
    free = free_bytes(folder)
    logger.info("The index takes about %.2f GB; %.2f GB are free", needed / 1e9, free / 1e9)
    if needed > free:
        raise OSError(f"The index takes about {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free: make room")


def _rows(images: ImageSet, descriptors: np.ndarray, settings: MapSettings, model: Evaluated) -> Iterator[PlaceRows]:
    positions = _positions(images)
    orientation = settings.orientation if model.reading is None else model.reading.orientation
    # As many at once as there are cores; Pillow decodes without holding Python.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        small = partial(thumbnail, orientation=orientation or "upright")
        for start in progress(range(0, len(images), _ROWS), "index", unit="batch"):
            part = images.subset(np.arange(start, min(start + _ROWS, len(images))))
            yield PlaceRows(
                names=[os.path.relpath(path, settings.root) for path in part.paths],
                descriptors=descriptors[start : start + _ROWS],
                positions=positions[start : start + _ROWS],
                headings=part.headings,
                timestamps=_texts(part.timestamps),
                traversals=_texts(part.traversals),
                thumbnails=[*pool.map(small, part.paths)] if settings.thumbnails else None,
            )


def _texts(values: np.ndarray | None) -> list[str] | None:
    return None if values is None else [str(value) for value in values]


def _queries(settings: MapSettings, split: str) -> ImageSet:
    splits = open_splits(settings.root, settings.prefix)
    if split not in splits:
        raise ValueError(f"`calibrate` must be one of {', '.join(splits)}. Received: calibrate={split!r}")
    return splits[split].queries


def _calibrate(index: PlaceIndex, known: ImageSet, descriptors: np.ndarray) -> None:
    try:
        index.calibrate(Localizer(index).calibrate(descriptors, _positions(known)))
    except ValueError as error:  # The index answers all the same, without saying how sure it is.
        logger.warning("The index is not calibrated: %s", error)
    else:
        logger.info("Calibrated on %d photos", len(known))
