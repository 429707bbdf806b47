"""A place-recognition dataset: database images and query images with their positions."""

from dataclasses import dataclass, fields

import numpy as np

from keras_sare.datasets.readable_images import readable_images
from keras_sare.datasets.spatial import Neighbours, neighbours_within

_COORDINATE_SYSTEMS = {2: "planar metres", 3: "earth-centred metres"}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their positions, as parallel arrays: no Python object is kept for an image.

    Args:
        paths: [N] file names; stored as a StringDType array.
        positions: [N, 2] planar metres or [N, 3] earth-centred metres (`earth_centred`); stored as float64.
        timestamps: optional [N], when an image was taken, as the dataset writes it: to compare, not to calculate with.
        places: optional [N], name of the place.
        passes: optional [N], name of the walk or drive an image was taken on.
        coordinates: optional [N, ...], the original position as given, for display (latitude and longitude in degrees).

    Raises:
        ValueError: an array is not of length N, or `positions` has another shape or a value that is not finite.
    """

    paths: np.ndarray
    positions: np.ndarray
    timestamps: np.ndarray | None = None
    places: np.ndarray | None = None
    passes: np.ndarray | None = None
    coordinates: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", np.asarray(self.paths, dtype=np.dtypes.StringDType()))
        object.__setattr__(self, "positions", np.asarray(self.positions, dtype=np.float64))
        if self.positions.ndim != 2 or self.positions.shape[1] not in _COORDINATE_SYSTEMS:
            raise ValueError(
                "`positions` must be [N, 2] planar metres or [N, 3] earth-centred metres. "
                f"Received: positions.shape={self.positions.shape}"
            )
        for name, values in self._arrays().items():
            if len(values) != len(self.paths):
                raise ValueError(
                    f"`{name}` must hold one entry for each of the {len(self.paths)} `paths`. "
                    f"Received: len({name})={len(values)}"
                )
        unknown = np.flatnonzero(~np.isfinite(self.positions).all(axis=1))
        if len(unknown):
            first = unknown[0]
            raise ValueError(
                f"`positions` must be finite; {len(unknown)} are not: leave those images out. "
                f"Received: positions[{first}]={self.positions[first]} of {self.paths[first]}"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, keep_indices: np.ndarray) -> "ImageSet":
        """Returns the images at `keep_indices` (int [K]), in that order."""
        return ImageSet(**{name: values[keep_indices] for name, values in self._arrays().items()})

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in arrays.items() if values is not None}


@dataclass(frozen=True, eq=False)
class PlaceDataset:
    """Queries to be recognised, and the database of images at known positions they are looked up in.

    Args:
        name: for messages and reports, for example "pitts30k_test".
        database: the images searched.
        queries: the images whose place is asked for; their positions are the ground truth.

    Raises:
        ValueError: a side has no images, or the two sides have different coordinate systems.
    """

    name: str
    database: ImageSet
    queries: ImageSet

    def __post_init__(self) -> None:
        for role, images in self._sides().items():
            if not len(images):
                raise ValueError(
                    f"`{role}` must hold at least one image: dataset {self.name!r} has none. Check the list it was "
                    f"read from. Received: len({role})=0"
                )
        database, queries = (_COORDINATE_SYSTEMS[side.positions.shape[1]] for side in self._sides().values())
        if database != queries:
            raise ValueError(
                f"`database` and `queries` of {self.name!r} must have one coordinate system, so that distances mean "
                f"something. Received: database={database}, queries={queries}"
            )

    @property
    def paths(self) -> np.ndarray:
        """Files of all images: the database's, then the queries'."""
        return np.concatenate([self.database.paths, self.queries.paths])

    def positives(self, radius: float, exclude_within: float = 0.0) -> Neighbours:
        """Finds for each query the database images at a distance d with exclude_within < d <= radius.

        Args:
            radius: metres, inclusive.
            exclude_within: metres, exclusive; 0 excludes nothing.

        Returns:
            `Neighbours` with one row for each query; some rows may be empty.

        Raises:
            ValueError: the bounds are not 0 <= exclude_within < radius.
        """
        return neighbours_within(self.queries.positions, self.database.positions, radius, exclude_within)

    def check_images(self, max_corrupt_share: float = 0.01) -> "PlaceDataset":
        """Reads and decodes every image file, and leaves out those that fail.

        Each file left out is logged as a warning with the reason, up to twenty, then their number.

        Args:
            max_corrupt_share: share of the images, in [0, 1], that may be left out, of the database and of the queries
                alike. More than that is taken for a wrong folder or an unfinished download.

        Returns:
            The dataset without the files that are missing or cannot be decoded.

        Raises:
            ValueError: more images than `max_corrupt_share` fail on a side, or all of them.
        """
        sides = {
            role: images.subset(readable_images(images.paths, self.name, role, max_corrupt_share))
            for role, images in self._sides().items()
        }
        return PlaceDataset(self.name, sides["database"], sides["queries"])

    def _sides(self) -> dict[str, ImageSet]:
        return {"database": self.database, "queries": self.queries}
