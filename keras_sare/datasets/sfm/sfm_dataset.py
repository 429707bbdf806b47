"""Photos of 3D models: what structure from motion knows of them."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.utils.files import atomic_path

_GEOMETRY = ("centres", "point_starts", "points", "scales")


@dataclass(frozen=True, eq=False)
class SfMDataset:
    """Photos that were registered in 3D models, as parallel arrays: there is no Python object for each observation.

    What image i observes is `points[point_starts[i] : point_starts[i + 1]]`.

    Args:
        name: for messages and reports.
        paths: [N] files; stored as a StringDType array.
        models: [N], number of the 3D model of each image; stored as int64.
        clusters: [N], stored as int64: images of different clusters show different things, so that one may be a
            negative of the other. At least as coarse as `models`.
        centres: [N, 3] camera centres, each model in its own frame and unit of length; float64. None where not known.
        point_starts: int64 [N + 1]. None where the points are not known.
        points: int64 [M], the 3D points that each image observes, ascending; numbers are unique over all models.
        scales: float32 [M], pixels per unit of length at which the image sees that point: focal length over depth.
        pairs: int64 [P, 2], published pairs of query and positive. None where there are none.

    Raises:
        ValueError: lengths do not agree, a model lies in two clusters, or points are not ascending.
    """

    name: str
    paths: np.ndarray
    models: np.ndarray
    clusters: np.ndarray
    centres: np.ndarray | None = None
    point_starts: np.ndarray | None = None
    points: np.ndarray | None = None
    scales: np.ndarray | None = None
    pairs: np.ndarray | None = None

    def __post_init__(self) -> None:
        dtypes: dict[str, Any] = dict.fromkeys(("models", "clusters", "point_starts", "points", "pairs"), np.int64)
        dtypes |= {"centres": np.float64, "scales": np.float32, "paths": np.dtypes.StringDType()}
        for name, dtype in dtypes.items():
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, np.asarray(values, dtype))
        count = len(self.paths)
        expected = {"models": (count,), "clusters": (count,), "centres": (count, 3), "point_starts": (count + 1,)}
        for name, shape in expected.items():
            if (values := getattr(self, name)) is not None and values.shape != shape:
                raise ValueError(
                    f"`{name}` must have the shape {shape} for {count} `paths`. Received: {name}.shape={values.shape}"
                )
        self._check_clusters()
        self._check_points()
        if self.pairs is not None and (self.pairs.ndim != 2 or self.pairs.shape[1] != 2 or self._outside(self.pairs)):
            raise ValueError(
                f"`pairs` must be [P, 2] numbers of images from 0 to {count - 1}. "
                f"Received: pairs.shape={self.pairs.shape}"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def points_of(self, image: int) -> np.ndarray:
        """Points that an image observes, int64, ascending.

        Raises:
            ValueError: the dataset has no points.
        """
        if self.points is None or self.point_starts is None:
            raise ValueError(f"`points` must be known for this. Received: {self.name!r} without points")
        return self.points[self.point_starts[image] : self.point_starts[image + 1]]

    def subset(self, keep: np.ndarray, name: str | None = None) -> "SfMDataset":
        """Keeps some images, and the pairs of which both are kept.

        Args:
            keep: int64 [K] numbers of images, each once; the result has their order.
            name: of the result; by default the same.
        """
        keep = np.asarray(keep, np.int64)
        picked = {"centres": None if self.centres is None else self.centres[keep]}
        if self.point_starts is not None and self.points is not None and self.scales is not None:
            rows, ends = _spans(self.point_starts, keep)
            picked |= {"point_starts": ends, "points": self.points[rows], "scales": self.scales[rows]}
        if self.pairs is not None:
            new_index = np.full(len(self), -1, np.int64)
            new_index[keep] = np.arange(len(keep))
            moved = new_index[self.pairs]
            picked["pairs"] = moved[(moved >= 0).all(axis=1)]
        return SfMDataset(name or self.name, self.paths[keep], self.models[keep], self.clusters[keep], **picked)

    def check_images(
        self, max_corrupt_share: float = 0.01, memory: str | os.PathLike[str] | None = None
    ) -> "SfMDataset":
        """Reads and decodes every image file, and leaves out those that fail.

        Args:
            max_corrupt_share: share of the images, in [0, 1], that may be excluded.
            memory: folder that remembers which files could be read, until they change; None remembers nothing.

        Raises:
            ValueError: more images than `max_corrupt_share` fail, or all of them.
        """
        kept = readable_images(self.paths, self.name, "photos", max_corrupt_share, memory=memory)
        return self if len(kept) == len(self) else self.subset(kept)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the dataset to a `.npz` file, whole or not at all.

        Paths are stored relative to the file's folder where they are below it, else absolute.
        """
        folder = Path(path).absolute().parent
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        names = [_relative(Path(one), folder) for one in self.paths.tolist()]
        arrays |= {"paths": np.array(names, dtype=np.str_), "name": np.array(self.name)}
        # An open file, because numpy would add a suffix to a path without it.
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SfMDataset":
        """Reads a dataset that `save` wrote.

        Raises:
            ValueError: the file holds no such dataset.
        """
        try:
            # numpy leaves a file that it opened itself open where it is no archive.
            with open(path, "rb") as file, np.load(file) as archive:
                arrays = {name: archive[name] for name in archive.files}
            names = arrays.pop("paths").tolist()
            folder = Path(path).absolute().parent
            arrays["paths"] = np.array([str(folder / name) for name in names], np.dtypes.StringDType())
            return cls(str(arrays.pop("name")), **arrays)
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"`path` must be a file that `SfMDataset.save` wrote, such as sfm.npz of trainers.sfm: {error}. "
                f"Received: path={os.fspath(path)!r}"
            ) from error

    def _outside(self, images: np.ndarray) -> bool:
        return bool(images.size) and not 0 <= images.min() <= images.max() < len(self)

    def _check_clusters(self) -> None:
        models, first = np.unique(self.models, return_index=True)
        own = self.clusters[first][np.searchsorted(models, self.models)]
        if (own != self.clusters).any():
            split = self.models[np.flatnonzero(own != self.clusters)[0]]
            raise ValueError(
                "`clusters` must hold each 3D model in one cluster: two photos of a model show the same. "
                f"Received: model {split} in several clusters"
            )

    def _check_points(self) -> None:
        given = [getattr(self, name) is not None for name in _GEOMETRY[1:]]
        if any(given) and not all(given):
            raise ValueError("`point_starts`, `points` and `scales` must be given together, or none of them")
        if self.point_starts is None or self.points is None or self.scales is None:
            return
        starts = self.point_starts
        if starts[0] != 0 or (np.diff(starts) < 0).any() or not starts[-1] == len(self.points) == len(self.scales):
            raise ValueError(
                "`point_starts` must rise from 0 to the number of `points`, which `scales` has too. "
                f"Received: from {starts[0]} to {starts[-1]}, {len(self.points)} points, {len(self.scales)} scales"
            )
        falls = self.points[1:] <= self.points[:-1]
        falls[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < len(self.points))] - 1] = False
        if falls.any():
            raise ValueError(
                "`points` of an image must be ascending, each once. "
                f"Received: points[{np.flatnonzero(falls)[0] + 1}] not above the one before"
            )


def _spans(starts: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the observations of some images, image after image, and where each image's begin among them: [n + 1]."""
    counts = starts[images + 1] - starts[images]
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.arange(ends[-1]) + np.repeat(starts[images] - ends[:-1], counts), ends


def _relative(path: Path, folder: Path) -> str:
    absolute = path.absolute()
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(absolute)
