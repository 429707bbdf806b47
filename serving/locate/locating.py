"""Photos as they come to the program, and the answers to them."""

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_sare.datasets.photo_import.exif import read_exif
from keras_sare.localization import DescriptorLocalizer, Motion, PhotoAnswer, PlaceIndex, Prior, photo_answers
from keras_sare.localization.reranking.reranked import Reranker
from keras_sare.utils.progress import progress
from serving.descriptors.descriptor_model import DescriptorModel
from serving.descriptors.resumable import DescriptorFiles
from serving.localization.uncalibrated import warn_of_uncalibrated
from serving.locate.readable import readable_photos

if TYPE_CHECKING:
    from keras_sare.localization.reranking.lazy_photos import LazyPhotos

logger = logging.getLogger("keras_sare.locate")

_TOGETHER = 256


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        photos: files, folders and patterns.
        prior: what is known of all photos.
        near_exif: whether each photo's own position is where it is looked for; one without is looked for everywhere.
        walk: how far it is from one photo to the next, where each folder is a walk; None where each stands alone.
        by_time: whether photos of a walk are in the order in which they were taken, as EXIF says; else by their names.
        batch: photos whose descriptors are extracted at a time.
        lazy: reads files when they are asked for, where maps re-rank.
    """

    photos: Sequence[str]
    prior: Prior
    near_exif: bool = False
    walk: Motion | None = None
    by_time: bool = False
    batch: int = 8
    lazy: Callable[[Sequence[str]], "LazyPhotos"] | None = None


def open_maps(
    folders: Mapping[str, str | Path], k: int, precision: float, rerankers: Mapping[str, Reranker] | None = None
) -> dict[str, DescriptorLocalizer]:
    """Opens place indexes of one model.

    Args:
        folders: by the names of their maps, one at least.
        k: candidates looked at for each photo.
        precision: share of the known answers that should be right.
        rerankers: by the names of their maps.

    Raises:
        FileNotFoundError: a folder is no place index.
        ValueError: an index is damaged, or they are of different models.
    """
    known = rerankers or {}
    maps = {
        name: DescriptorLocalizer(PlaceIndex(folder), k, precision, reranker=known.get(name))
        for name, folder in folders.items()
    }
    first, *others = (one.index for one in maps.values())
    for other in others:
        other.check_model(first.record.model)
    return maps


def axes_of(maps: Mapping[str, DescriptorLocalizer]) -> list[str]:
    """Names of the numbers of positions, of all kinds that the maps have."""
    return list(dict.fromkeys(axis for one in maps.values() for axis in one.index.record.axes))


def located(
    maps: Mapping[str, DescriptorLocalizer], model: DescriptorModel, request: Request, folder: Path
) -> Iterator[tuple[str, PhotoAnswer]]:
    """Locates photos, a walk or some hundreds at a time. Photos that cannot be read are logged and left out.

    Args:
        maps: by name.
        model: of the maps.
        request: which photos, and what is known of them.
        folder: for descriptors; of a run that was killed those that are there are not extracted again.

    Yields:
        File and answer of each photo, walks after one another.

    Raises:
        FileNotFoundError: there is no such photo.
        ValueError: no photo can be read, positions of photos are asked for where the maps have metres, or `near` is no
            position on the maps.
    """
    if request.near_exif and "easting" in axes_of(maps):
        raise ValueError(
            "`near` must be easting,northing for an index in metres: EXIF has degrees. Received: near=exif"
        )
    request.prior.check_maps({one.index.record.kind for one in maps.values()})
    for name, one in maps.items():
        if request.walk is not None:
            warn_of_uncalibrated(name, one.index.record, "walks")
        elif request.near_exif or request.prior.near is not None:
            warn_of_uncalibrated(name, one.index.record, "near")
    files = DescriptorFiles(folder)
    photos = readable_photos(request.photos, "photos", "queries", folder)
    descriptors = files.of(model, photos, request.batch)
    exif = read_exif("", photos) if request.near_exif or (request.walk and request.by_time) else None
    prior = request.prior
    if request.near_exif and exif is not None:
        near = np.stack([exif["latitude"], exif["longitude"]], axis=1)
        logger.info("%d of %d photos say where they were taken", np.isfinite(near).all(axis=1).sum(), len(photos))
        prior = replace(prior, near=near)
    seconds = exif["seconds"] if request.by_time and exif is not None else np.zeros(len(photos))
    groups = _walks(photos, seconds) if request.walk is not None else _blocks(len(photos))
    for rows in progress(groups, "Locating", len(photos), "photo", size=len):
        own = None if request.lazy is None else request.lazy(photos[rows].tolist())
        answers = photo_answers(maps, descriptors[rows], [""] * len(rows), prior.of(rows), request.walk, own)
        yield from zip(photos[rows].tolist(), answers, strict=True)


def _blocks(count: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + _TOGETHER, count)) for start in range(0, count, _TOGETHER)]


def _walks(photos: np.ndarray, seconds: np.ndarray) -> list[np.ndarray]:
    """Numbers of the photos of each folder, in order of time and then name; those without a time come last."""
    key = [(os.path.dirname(photo), second, photo) for photo, second in zip(photos.tolist(), seconds, strict=True)]
    order = sorted(range(len(photos)), key=lambda i: (key[i][0], np.isnan(key[i][1]), key[i][1], key[i][2]))
    return [np.array([*rows]) for _, rows in itertools.groupby(order, key=lambda i: key[i][0])]
