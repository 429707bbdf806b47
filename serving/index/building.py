"""Photos of a data set as rows of a place index: descriptors, positions, thumbnails."""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from keras_sare.datasets import ImageSet
from keras_sare.localization import IndexRecord, PlaceIndex, PlaceRows
from keras_sare.localization.thumbnails import thumbnail
from keras_sare.utils.files import check_writable_folder, free_bytes
from keras_sare.utils.progress import progress
from serving.descriptors.descriptor_model import DescriptorModel, Rows
from serving.descriptors.resumable import DescriptorFiles
from serving.index.calibrating import Ways, calibrations
from serving.index.map_photos import MapSettings, kind_of, map_photos, positions_of, queries_of, unfinished_folder

logger = logging.getLogger("keras_sare.index")

_ROWS = 512
_THUMBNAIL_BYTES = 12_000
_ROW_BYTES = 200


def build(folder: Path, settings: MapSettings, known_splits: Sequence[str] = ()) -> PlaceIndex:
    """Builds an index. Broken off, the same call goes on from the descriptors that are there.

    Args:
        folder: of the index; it must not exist.
        settings: what it is made of.
        known_splits: whose queries say how sure answers are; empty for an index without a calibration.

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
    images = map_photos(settings)
    known = queries_of(settings, known_splits, kind_of(images)) if known_splits else None
    model = settings.open_model()
    unfinished = unfinished_folder(folder)
    descriptors = _descriptors(folder, model, images, settings)
    reading = None if model.reading is None else model.reading.arguments()
    record = IndexRecord(model.identity, model.name, descriptors.shape[1], kind_of(images), reading)
    index = PlaceIndex.create(folder, record, _rows(images, descriptors, settings, model))
    logger.info("Built %s: %d photos, %d dimensions", folder, len(index), record.dim)
    if known is not None:
        _calibrate(index, known, DescriptorFiles(unfinished).of(model, known.paths, settings.batch))
    shutil.rmtree(unfinished)
    return index


def append(folder: Path, settings: MapSettings, replace: bool = False) -> PlaceIndex:
    """Adds photos to an index. Broken off, the same call goes on.

    Args:
        folder: of the index.
        settings: what is added.
        replace: whether photos may take the place of those of the same names.

    Raises:
        ValueError: the model or the kind of the positions is another than the index's, or names are there already; see
            `build` for the rest.
    """
    index = PlaceIndex(folder)
    model = settings.open_model()
    index.check_model(model.identity)
    images = map_photos(settings)
    if kind_of(images) != index.record.kind:
        raise ValueError(f"Positions must be in {index.record.kind}, as the index's are. Received: {kind_of(images)}")
    if not replace:
        index.check_new(settings.names_of(images))
    descriptors = _descriptors(folder, model, images, settings)
    done = index.append(_rows(images, descriptors, settings, model), model.identity, replace)
    logger.info("%s: %d photos added, %d replaced, %d now", folder, done.added, done.replaced, len(index))
    shutil.rmtree(unfinished_folder(folder))
    return index


def _descriptors(folder: Path, model: DescriptorModel, images: ImageSet, settings: MapSettings) -> np.ndarray:
    unfinished = unfinished_folder(folder)
    files = DescriptorFiles(unfinished)
    first = _FirstRow()
    model.extract(images.paths[:1], 1, first)
    _check_disk(unfinished, len(images), first.dim, settings.thumbnails)
    return files.of(model, images.paths, settings.batch)


class _FirstRow(Rows):
    """Tells how long descriptors are."""

    dim = 0

    def __setitem__(self, rows: np.ndarray, descriptors: np.ndarray, /) -> None:
        self.dim = descriptors.shape[1]


def _check_disk(unfinished: Path, count: int, dim: int, thumbnails: bool) -> None:
    index = count * (2 * dim + _ROW_BYTES + thumbnails * _THUMBNAIL_BYTES)
    meanwhile = 4 * count * dim
    there = sum(file.stat().st_size for file in unfinished.iterdir())
    needed = index + max(meanwhile - there, 0)
    free = free_bytes(unfinished)
    text = f"{count} photos of {dim} numbers take about {index / 1e9:.2f} GB"
    text = f"{text}, and {meanwhile / 1e9:.2f} GB more while the index is made; {free / 1e9:.2f} GB are free"
    if needed > free:
        raise OSError(f"{text}: make room, or take a model that is whitened to fewer numbers")
    logger.info("%s. In memory are %.0f MB of them at a time", text, 6 * _ROWS * dim / 1e6)


def _rows(
    images: ImageSet, descriptors: np.ndarray, settings: MapSettings, model: DescriptorModel
) -> Iterator[PlaceRows]:
    positions = positions_of(images)
    orientation = settings.orientation if model.reading is None else model.reading.orientation
    # As many at once as there are cores; Pillow decodes without holding Python.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        small = partial(thumbnail, orientation=orientation or "upright")
        for start in progress(range(0, len(images), _ROWS), "index", unit="batch"):
            part = images.subset(np.arange(start, min(start + _ROWS, len(images))))
            yield PlaceRows(
                names=settings.names_of(part),
                descriptors=descriptors[start : start + _ROWS],
                positions=positions[start : start + _ROWS],
                headings=part.headings,
                timestamps=_texts(part.timestamps),
                traversals=_texts(part.traversals),
                thumbnails=[*pool.map(small, part.paths)] if settings.thumbnails else None,
            )


def _texts(values: np.ndarray | None) -> list[str] | None:
    return None if values is None else [str(value) for value in values]


def _calibrate(index: PlaceIndex, known: ImageSet, descriptors: np.ndarray) -> None:
    try:
        index.calibrate(*calibrations(index, known, descriptors, Ways()))
    except ValueError as error:  # The index answers all the same, without saying how sure it is.
        logger.warning("The index is not calibrated: %s", error)
    else:
        logger.info("Calibrated on %d photos", len(known))
