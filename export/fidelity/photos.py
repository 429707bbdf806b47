"""The photos that artefacts are compared with their Keras model on."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from export.quantisation.sample_photos import sample_photo
from export.source import Size
from keras_sare.datasets import ImageFolder, Neighbours, PlaceDataset
from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.evaluation import evaluate

MAX_CORRUPT_SHARE = 0.01
MAX_CORRUPT_SHARE_OF_SAMPLE = 0.5
"""One of a few photos is several per cent, which says little of the folder; and a cosine is of one photo alone."""

ADVICE = "Check the folder, mend these files, or take them out of the folder and of the lists that name them."
"""Where too many photos cannot be read: how many may be left out is not a setting of an export."""

_RENDERED = 12
_RENDERED_SIZE = (240, 320)
_LONGEST_RENDERED = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class FidelityPhotos:
    """Photos, and where they are of places, what recall is measured by.

    Attributes:
        paths: [N] image files; of places the database's, then the queries'.
        description: for the report, for example "ie_tower_test, 308 database images and 286 queries, within 25 m".
        places: queries and database; None where only descriptors are compared.
        radius: metres within which a database image is right.
    """

    paths: np.ndarray
    description: str
    places: PlaceDataset | None = None
    radius: float = 25.0

    @classmethod
    def of_places(
        cls,
        dataset: PlaceDataset,
        max_images: int | None = None,
        radius: float = 25.0,
        max_corrupt_share: float = MAX_CORRUPT_SHARE,
    ) -> Self:
        """Takes the queries and the database of a split, less the files that cannot be read.

        Args:
            dataset: usually the test split.
            max_images: takes so many images at most: queries that have positives, spread evenly, with the nearest
                positive of each, and other database images, spread evenly. None takes all.
            radius: metres within which a database image is right.
            max_corrupt_share: of the files of the database and of the queries, that may be unreadable; of a sample it
                is one half.

        Raises:
            ValueError: `max_images` is less than 2, no query has a database image within `radius`, or too many files
                cannot be read.
        """
        places = dataset
        share = ""
        drawn = ""
        if max_images is not None and max_images < len(dataset.paths):
            _check_count(max_images, 2)
            share = f"a sample of {len(dataset.paths)} images: "
            drawn = " drawn with their nearest positives"
            places = _sample(dataset, max_images, radius)
            max_corrupt_share = MAX_CORRUPT_SHARE_OF_SAMPLE
        database, queries = (
            side.subset(readable_images(side.paths, dataset.name, role, max_corrupt_share, ADVICE))
            for role, side in (("database", places.database), ("queries", places.queries))
        )
        places = dataclasses.replace(places, database=database, queries=queries)
        places.warn_of_same_photos()
        _positives(places, radius)  # The files left out may have been the only positives.
        sizes = f"{len(places.database)} database images and {len(places.queries)} queries{drawn}"
        return cls(places.paths, f"{dataset.name}, {share}{sizes}, {places.criterion(radius)}", places, radius)

    @classmethod
    def of_files(
        cls,
        photos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        max_images: int | None = None,
        name: str = "a list",
    ) -> Self:
        """Takes photos without positions, less those that cannot be read.

        Args:
            photos: a folder, with the folders in it; or a list of files.
            max_images: takes so many at most, spread evenly. None takes all.
            name: of a list, for the report.

        Raises:
            ValueError: there is no image, `max_images` is less than 1, or more than half of the files cannot be read.
        """
        if isinstance(photos, (str, os.PathLike)):
            name = os.fspath(photos)
            files = list(map(str, ImageFolder(photos).paths()))
        else:
            files = [str(photo) for photo in photos]
        if not files:
            raise ValueError("`photos` must name a folder of photos, or at least one file. Received: photos=[]")
        paths = np.asarray(files, np.dtypes.StringDType())
        share = ""
        if max_images is not None and max_images < len(paths):
            _check_count(max_images, 1)
            share = f"an evenly spread sample of {len(paths)} photos: "
            paths = paths[spread(len(paths), max_images)]
        paths = paths[readable_images(paths, name, "photos", MAX_CORRUPT_SHARE_OF_SAMPLE, ADVICE)]
        return cls(paths, f"{name}, {share}{len(paths)} photos")

    @classmethod
    def rendered(cls, folder: Path, size: Size | None = None) -> Self:
        """Renders a few pictures, where there are no photos: they show that an export works, not how well.

        Args:
            folder: where the files are written.
            size: that images are resized to. Where it limits their longer side, which enlarges none, pictures have
                this longer side, at most 1024, so that latency and memory are those of photos.
        """
        longer = min(size, _LONGEST_RENDERED) if isinstance(size, int) else None
        shape = (max(1, longer * 3 // 4), longer) if longer else _RENDERED_SIZE
        paths = [folder / f"{number:02d}.png" for number in range(_RENDERED)]
        for number, path in enumerate(paths):
            path.write_bytes(sample_photo(number, shape, "PNG"))
        return cls(np.asarray(list(map(str, paths)), np.dtypes.StringDType()), f"{len(paths)} rendered pictures")

    def recalls(self, descriptors: np.ndarray, ns: Sequence[int]) -> dict[int, float]:
        """Measures recall@N.

        Args:
            descriptors: [N, dim], in the order of `paths`.
            ns: of recall@N; those above the size of the database are left out.

        Returns:
            Recall, 0 to 1, by N; empty where the photos are of no places.
        """
        if self.places is None:
            return {}
        database, queries = np.split(descriptors, [len(self.places.database)])
        positives = self.places.positives(self.radius)
        protocol = self.places.protocol(self.radius)
        ns = [n for n in ns if n <= len(database)]
        exclude = self.places.own_timestamps()
        report, _ = evaluate(
            queries, database, positives, protocol=protocol, dataset=self.places.name, ns=ns, exclude=exclude
        )
        return dict(zip(report.ns, report.recalls, strict=True))


def spread(count: int, chosen: int) -> np.ndarray:
    """Indices of `chosen` of `count` things, or of all where these are fewer, from the first to the last."""
    return np.linspace(0, count - 1, min(chosen, count)).round().astype(int)


def _positives(places: PlaceDataset, radius: float) -> Neighbours:
    positives = places.positives(radius)
    if not positives.counts.any():
        raise ValueError(
            f"No query of {places.name!r} has a database image {places.criterion(radius)} that can be read, so there "
            "is no recall to measure. Check the positions or places, or take another split; photos alone "
            f"(--images=FOLDER) give cosines. Received: {len(places.queries)} queries, {len(places.database)} database "
            "images"
        )
    return positives


def _sample(places: PlaceDataset, max_images: int, radius: float) -> PlaceDataset:
    """Queries that have positives, with the nearest one of each, and other images of the database."""
    database = places.database
    queries = places.queries
    positives = _positives(places, radius)
    able = np.flatnonzero(positives.counts)
    # In the share of the whole, but so few that a positive of each has room.
    share = round(max_images * len(queries) / (len(database) + len(queries)))
    asked = able[spread(len(able), max(1, min(share, max(max_images // 2, max_images - len(database)))))]
    nearest = [_nearest(places, i, positives[i]) for i in asked.tolist()]
    others = np.setdiff1d(np.arange(len(database)), nearest)
    room = max_images - len(asked) - (len(database) - len(others))
    kept = np.union1d(nearest, others[spread(len(others), room)])
    return dataclasses.replace(places, database=database.subset(kept), queries=queries.subset(asked))


def _nearest(places: PlaceDataset, query: int, positives: np.ndarray) -> int:
    """The nearest positive of a query; the first one where there are no positions."""
    return int(min(positives.tolist(), key=lambda image: places.distance(query, image) or 0.0))


def _check_count(max_images: int, least: int) -> None:
    if max_images < least:
        raise ValueError(f"`max_images` must be at least {least}. Received: max_images={max_images}")
