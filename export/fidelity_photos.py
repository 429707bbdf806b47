"""The photos that artefacts are compared with their Keras model on."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from export.sample_photos import sample_photo
from keras_sare.datasets import ImageFolder, PlaceDataset
from keras_sare.datasets.readable_images import readable_images
from keras_sare.evaluation import evaluate

_RENDERED = 12
_RENDERED_SIZE = (240, 320)
_MAX_CORRUPT_SHARE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class FidelityPhotos:
    """Photos, and where they are of places, what recall is measured by.

    Attributes:
        paths: [N] image files; of places the database's, then the queries'.
        description: for the report, for example "ie_tower_test, 308 database images and 286 queries, 25 m".
        places: queries and database; None where only descriptors are compared.
        radius: metres within which a database image is right.
    """

    paths: np.ndarray
    description: str
    places: PlaceDataset | None = None
    radius: float = 25.0

    @classmethod
    def of_places(cls, dataset: PlaceDataset, max_images: int | None = None, radius: float = 25.0) -> Self:
        """Takes the queries and the database of a split, less the files that cannot be read.

        Args:
            dataset: usually the test split.
            max_images: takes so many images at most, queries and database in the same share, spread evenly over each;
                then a query may lose its positives. None takes all.
            radius: metres within which a database image is right.

        Raises:
            ValueError: `max_images` is less than 2, or more than 1 % of the files cannot be read.
        """
        database, queries = dataset.database, dataset.queries
        total, share = len(database) + len(queries), ""
        if max_images is not None and max_images < total:
            _check_count(max_images, 2)
            chosen = min(max(1, round(max_images * len(queries) / total)), max_images - 1)
            share = f"an evenly spread sample of {total} images: "
            queries = queries.subset(_spread(len(queries), chosen))
            database = database.subset(_spread(len(database), max_images - chosen))
        places = PlaceDataset(dataset.name, database, queries).check_images(_MAX_CORRUPT_SHARE)
        sizes = f"{len(places.database)} database images and {len(places.queries)} queries"
        return cls(places.paths, f"{dataset.name}, {share}{sizes}, {radius:g} m", places, radius)

    @classmethod
    def of_files(
        cls, photos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], max_images: int | None = None
    ) -> Self:
        """Takes photos without positions, less those that cannot be read.

        Args:
            photos: a folder, with the folders in it; or a list of files.
            max_images: takes so many at most, spread evenly. None takes all.

        Raises:
            ValueError: there is no image, `max_images` is less than 1, or more than 1 % of the files cannot be read.
        """
        if isinstance(photos, (str, os.PathLike)):
            name, files = os.fspath(photos), list(map(str, ImageFolder(photos).paths()))
        else:
            name, files = "a list", [str(photo) for photo in photos]
        if not files:
            raise ValueError("`photos` must name a folder of photos, or at least one file. Received: photos=[]")
        paths, share = np.asarray(files, np.dtypes.StringDType()), ""
        if max_images is not None and max_images < len(paths):
            _check_count(max_images, 1)
            share = f"an evenly spread sample of {len(paths)} photos: "
            paths = paths[_spread(len(paths), max_images)]
        paths = paths[readable_images(paths, name, "photos", _MAX_CORRUPT_SHARE)]
        return cls(paths, f"{name}, {share}{len(paths)} photos")

    @classmethod
    def rendered(cls, folder: Path) -> Self:
        """Renders a few pictures, where there are no photos: they show that an export works, not how well.

        Args:
            folder: where the files are written.
        """
        paths = [folder / f"{number:02d}.png" for number in range(_RENDERED)]
        for number, path in enumerate(paths):
            path.write_bytes(sample_photo(number, _RENDERED_SIZE, "PNG"))
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
        positives, protocol = self.places.positives(self.radius), f"recall@N within {self.radius:g} m"
        ns = [n for n in ns if n <= len(database)]
        report, _ = evaluate(queries, database, positives, protocol=protocol, dataset=self.places.name, ns=ns)
        return dict(zip(report.ns, report.recalls, strict=True))


def _check_count(max_images: int, least: int) -> None:
    if max_images < least:
        raise ValueError(f"`max_images` must be at least {least}. Received: max_images={max_images}")


def _spread(count: int, chosen: int) -> np.ndarray:
    """Indices of `chosen` of `count` things, from the first to the last."""
    return np.linspace(0, count - 1, min(chosen, count)).round().astype(int)
