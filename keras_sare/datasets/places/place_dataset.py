"""A place-recognition dataset: database images and query images with their positions or places."""

import dataclasses
import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_sare.datasets.checks.finding import log_findings
from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.datasets.images.same_photos import photo_numbers, repeated_photos
from keras_sare.datasets.places.groups import same_group
from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.spatial import Neighbours, neighbours_within
from keras_sare.utils.arguments import plain_arguments


@plain_arguments
@dataclass(frozen=True, eq=False)
class PlaceDataset:
    """Queries to be located, and the database of images at known positions or places in which they are searched.

    The positives of a query are the database images within a radius; where the sides have no positions, those of its
    place. What a kind of data adds to that is defined here once; training, validation, evaluation and export follow it.

    Args:
        name: for messages and reports, for example "pitts30k_test".
        database: the images searched.
        queries: the images to be located; their positions or places are the ground truth.
        min_positive: metres; positives that are trained on are farther than this, unless a run says otherwise: nearer
            ones are views of the query's own panorama. 1 for dbStruct files; 0 turns it off. Has no effect where there
            are no positions.
        other_timestamps: whether a positive must have another timestamp than the query, as in TokyoTM. So it is where
            a dbStruct file has timestamps; those of other data restrict nothing unless this is set.

    Raises:
        ValueError: a side has no images, the two sides have different coordinate systems, or `other_timestamps` is on
            and a side has no timestamps.
    """

    name: str
    database: ImageSet
    queries: ImageSet
    min_positive: float = 0.0
    other_timestamps: bool = False

    def __post_init__(self) -> None:
        for role, images in self._sides().items():
            if not len(images):
                raise ValueError(
                    f"`{role}` must hold at least one image: dataset {self.name!r} has none. Check the list it was "
                    f"read from. Received: len({role})=0"
                )
        if self.other_timestamps:
            _check_comparable(self.name, self.database.timestamps, self.queries.timestamps)
        database, queries = (side.coordinate_system for side in self._sides().values())
        if database != queries:
            raise ValueError(
                f"`database` and `queries` of {self.name!r} must have one coordinate system, so that distances mean "
                f"something. Received: database={database}, queries={queries}"
            )

    @property
    def paths(self) -> np.ndarray:
        """Files of all images: the database's, then the queries'. The id of an image is its index here."""
        return np.concatenate([self.database.paths, self.queries.paths])

    @cached_property
    def photos(self) -> np.ndarray:
        """Equal for images that are the same photo, by file or by bytes: int64 [database + queries], by id.

        Looks at the size of every file, and into those whose sizes agree; see `photo_numbers`.
        """
        return photo_numbers(self.paths)

    def own_photos(self) -> Neighbours:
        """Finds for each query the database images that are the query's own photo; see `photos`."""
        database, queries = np.split(self.photos, [len(self.database)])
        return Neighbours.of(same_group(queries, database))

    def own_timestamps(self) -> list[np.ndarray] | None:
        """Finds for each query the database images of its own timestamp, which must not be found, as in TokyoTM.

        NetVLAD's code drops them from what a search finds (`nnSearchPostprocess`): beside its positives, which have
        another one, a query's own panorama would come first.

        Returns:
            `Q` arrays of database indices; None where `other_timestamps` is off.
        """
        if not self.other_timestamps:
            return None
        return same_group(_required(self.queries.timestamps), _required(self.database.timestamps))

    @plain_arguments
    def nearby(self, radius: float, exclude_within: float = 0.0, ids: np.ndarray | None = None) -> Neighbours:
        """Finds for each query the database images near it, which are no negatives.

        Args:
            radius: metres, inclusive. Where there are no positions it has no effect, and images of the query's place
                are near it.
            exclude_within: metres, exclusive; 0 excludes nothing. No effect without positions.
            ids: int64 [Q], images to be located instead of the queries.

        Returns:
            `Neighbours` with one row for each query; some rows may be empty.

        Raises:
            ValueError: the bounds are not 0 <= exclude_within < radius.
        """
        queries = self.images_of(ids)
        database = self.database
        if queries.positions is not None and database.positions is not None:
            return neighbours_within(queries.positions, database.positions, radius, exclude_within)
        return Neighbours.of(same_group(_required(queries.places), _required(database.places)))

    @plain_arguments
    def positives(self, radius: float, exclude_within: float = 0.0, ids: np.ndarray | None = None) -> Neighbours:
        """Finds the positives of each query: the images `nearby`, with `other_timestamps` of another timestamp.

        Args:
            radius: as of `nearby`, and so are the others.
            exclude_within: metres, exclusive.
            ids: int64 [Q], images to be located instead of the queries.
        """
        near = self.nearby(radius, exclude_within, ids)
        return near.where(~self.same_timestamp(near, ids)) if self.other_timestamps else near

    def same_timestamp(self, near: Neighbours, ids: np.ndarray | None = None) -> np.ndarray:
        """Which of the images found near queries (or `ids`) have a query's own timestamp: bool [total]."""
        queries = _required(self.images_of(ids).timestamps)
        database = _required(self.database.timestamps)
        return np.asarray(queries[near.queries] == database[near.indices], bool)

    def images_of(self, ids: np.ndarray | None = None) -> ImageSet:
        """The queries, or the images of some ids."""
        return self.queries if ids is None else self.database.followed_by(self.queries).subset(ids)

    def criterion(self, radius: float) -> str:
        """Which database images are right, in words: "within 25 m", or "at the same place" without positions."""
        where = "at the same place" if self.database.positions is None else f"within {radius:g} m"
        return where + ", of another timestamp" * self.other_timestamps

    def protocol(self, radius: float) -> str:
        """What an evaluation measures, for reports: "recall@N within 25 m"."""
        return f"recall@N {self.criterion(radius)}"

    def distance(self, query: int, image: int) -> float | None:
        """Metres between a query and a database image; None where there are no positions."""
        if self.queries.positions is None or self.database.positions is None:
            return None
        return float(np.linalg.norm(self.queries.positions[query] - self.database.positions[image]))

    def check_images(
        self, max_corrupt_share: float = 0.01, memory: str | os.PathLike[str] | None = None
    ) -> "PlaceDataset":
        """Reads and decodes every image file, and excludes those that fail.

        Each excluded file is logged as a warning with the reason, up to twenty, then their number.

        Args:
            max_corrupt_share: share of the images, in [0, 1], that may be excluded, of the database and of the queries
                alike. More than that is taken for a wrong folder or an unfinished download.
            memory: folder that remembers which files could be read, until they change; None remembers nothing.

        Returns:
            The dataset without the files that are missing or cannot be decoded.

        Raises:
            ValueError: more images than `max_corrupt_share` fail on a side, or all of them.
        """
        database, queries = (
            readable_images(images.paths, self.name, role, max_corrupt_share, memory=memory)
            for role, images in self._sides().items()
        )
        if len(database) + len(queries) == len(self.paths):
            return self
        sides = self.database.subset(database), self.queries.subset(queries)
        return dataclasses.replace(self, database=sides[0], queries=sides[1])

    def warn_of_same_photos(self) -> None:
        """Logs as warnings which photos are listed twice, and which queries are in the database."""
        log_findings(repeated_photos(self.name, self.database.paths, self.queries.paths, self.photos))

    def _sides(self) -> dict[str, ImageSet]:
        return {"database": self.database, "queries": self.queries}


def _required(values: np.ndarray | None) -> np.ndarray:
    """Values that the checks of `PlaceDataset` have found to exist."""
    return np.zeros(0) if values is None else values


def _check_comparable(name: str, database: np.ndarray | None, queries: np.ndarray | None) -> None:
    kinds = [_kind(timestamps) for timestamps in (database, queries)]
    if "none" in kinds or kinds[0] != kinds[1]:
        raise ValueError(
            f"`other_timestamps` compares the timestamps of both sides of {name!r}, both numbers or both text: list "
            f"them so, or turn it off. Received: database={kinds[0]}, queries={kinds[1]}"
        )


def _kind(timestamps: np.ndarray | None) -> str:
    if timestamps is None:
        return "none"
    return "numbers" if timestamps.dtype.kind in "biuf" else "text"
