"""The photos of a map, and those that are asked about it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from export.index_file import open_map
from keras_sare.datasets import ImageSet, is_listed, open_splits
from keras_sare.datasets.images.readable_images import readable_images
from serving.descriptors.descriptor_model import DescriptorModel
from serving.descriptors.open_models import open_model
from serving.index.geotagged import geotagged_photos


@dataclass(frozen=True)
class MapSettings:
    """What a map is made of.

    Attributes:
        root: folder of the data set, or of photos that carry their positions.
        model: as `trainers.evaluate` takes it: an exported model, a run, an endpoint.
        prefix: first letters of the .mat files' names, where the folder holds several data sets.
        splits: whose database images are taken, of a data set; all where it is empty.
        image_size, orientation: how photos are read, where the model has no record of it.
        thumbnails: whether small pictures are kept.
        batch: photos whose descriptors are extracted at a time.
        max_corrupt_share: share of the photos that may be unreadable.
        name_prefix: stands in the index before the path of each photo below `root`.
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
    name_prefix: str = ""

    def names_of(self, images: ImageSet) -> list[str]:
        """Names of photos in the index."""
        return [self.name_prefix + os.path.relpath(path, self.root) for path in images.paths]

    def open_model(self) -> DescriptorModel:
        """Opens the model. See `open_models` for what it raises."""
        return open_model(self.model, self.image_size, self.orientation)


def map_photos(settings: MapSettings) -> ImageSet:
    """The photos of a map that can be read: the database images of a data set, or all that carry a position.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: photos have no positions, or too many cannot be read.
    """
    if is_listed(settings.root, settings.prefix):
        images = open_map(settings.root, settings.prefix, settings.splits or None)
    else:
        images = geotagged_photos(settings.root)
    if images.positions is None:
        raise ValueError(
            "The photos must have positions: a place index answers where a photo was taken. "
            f"Received: root={str(settings.root)!r}, which knows places only"
        )
    share = settings.max_corrupt_share
    return images.subset(readable_images(images.paths, settings.root.name, "database", share))


def queries_of(settings: MapSettings, splits: Sequence[str], kind: str) -> ImageSet:
    """The queries of some splits that can be read.

    Args:
        settings: of the data set.
        splits: one at least, whose queries.
        kind: of the index's positions; theirs must be the same.

    Raises:
        ValueError: there is no such split, or its queries have no positions of that kind.
    """
    datasets = open_splits(settings.root, settings.prefix)
    if unknown := [split for split in splits if split not in datasets]:
        raise ValueError(f"The split must be one of {', '.join(datasets)}. Received: {unknown[0]!r}")
    first, *others = (datasets[split].queries for split in splits)
    queries = reduce(ImageSet.followed_by, others, first)
    if queries.positions is None or kind_of(queries) != kind:
        raise ValueError(
            f"The queries must have positions in {kind}, as the index's are. Received: {', '.join(splits)}"
        )
    share = settings.max_corrupt_share
    return queries.subset(readable_images(queries.paths, settings.root.name, "queries", share))


def kind_of(images: ImageSet) -> str:
    """What a position of the photos is, "metres" or "degrees"."""
    return "metres" if images.coordinates is None else "degrees"


def positions_of(images: ImageSet) -> np.ndarray:
    """Where photos were taken, float64 [N, 2]: latitude and longitude where they have those, else metres."""
    return np.asarray(images.given_positions, np.float64)


def walks_of(images: ImageSet, gap: float | None = None) -> list[np.ndarray]:
    """Numbers of the photos of each walk, in the order of the data set's list, int64 [F].

    Args:
        images: of one or several splits.
        gap: metres from one photo to the next that end a walk where the data set has no traversals; None: it has no
            walks then.
    """
    if images.traversals is not None:
        _, walk = np.unique(images.traversals, return_inverse=True)
    elif gap is not None:
        steps = np.linalg.norm(np.diff(np.asarray(images.positions), axis=0), axis=1)
        walk = np.concatenate([[0], np.cumsum(steps > gap)])
    else:
        return []
    return [np.flatnonzero(walk == number) for number in range(walk.max() + 1)]


def unfinished_folder(folder: Path) -> Path:
    """Beside an index, for descriptors of a run that may be broken off."""
    return folder.with_name(f".{folder.name}.unfinished")
