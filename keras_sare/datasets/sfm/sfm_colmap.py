"""A COLMAP model as arrays."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.datasets.sfm.sfm_pycolmap import quiet_pycolmap

_SUFFIXES = (".bin", ".txt")


@dataclass(frozen=True, eq=False)
class ColmapModel:
    """The registered images of a COLMAP model and the points they observe.

    Attributes:
        number: of the model among those of its folder.
        names: StringDType [n], files relative to the folder of the images, ascending.
        centres: float64 [n, 3] camera centres.
        rotations: float64 [n, 3, 3] from the model's axes to the camera's: x right, y down, z forward.
        positions: float64 [P, 3] of the points.
        point_starts: int64 [n + 1]: image i observes `points[point_starts[i] : point_starts[i + 1]]`.
        points: int64 [M] rows of `positions`, ascending for each image, each once.
        scales: float32 [M] pixels per unit of length: the camera's mean focal length over the depth of the point.
    """

    number: int
    names: np.ndarray
    centres: np.ndarray
    rotations: np.ndarray
    positions: np.ndarray
    point_starts: np.ndarray
    points: np.ndarray
    scales: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def model_folders(models: str | os.PathLike[str]) -> dict[int, Path]:
    """Finds COLMAP models by number.

    Args:
        models: a model's folder, which holds `images.bin` or `images.txt`, or a folder of such folders. Their names are
            the numbers where all are numbers; else they are counted in the order of their names.

    Raises:
        ValueError: there is no model.
    """
    models = Path(models)
    if _is_model(models):
        return {0: models}
    folders = sorted(path for path in models.glob("*") if _is_model(path))
    if not folders:
        raise ValueError(
            "`models` must be the folder of a COLMAP model (images.bin or images.txt, cameras and points3D beside it), "
            f"or a folder of such folders. Received: models={models}"
        )
    if all(path.name.isdecimal() for path in folders):
        return dict(sorted((int(path.name), path) for path in folders))
    return dict(enumerate(folders))


def read_models(models: str | os.PathLike[str]) -> Iterator[ColmapModel]:
    """Reads COLMAP models one after another, binary or text, as `model_folders` finds them.

    Args:
        models: a model's folder, or a folder of such folders.

    Raises:
        ImportError: pycolmap is not installed.
        ValueError: there is no model, or one cannot be read.
    """
    for number, folder in model_folders(models).items():
        yield read_model(folder, number)


def read_model(folder: str | os.PathLike[str], number: int = 0) -> ColmapModel:
    """Reads one COLMAP model, binary or text.

    An observation whose point lies behind the camera is dropped.

    Args:
        folder: of the model.
        number: to give to it.

    Raises:
        ImportError: pycolmap is not installed.
        ValueError: the model cannot be read.
    """
    with quiet_pycolmap() as pycolmap:
        try:
            model = pycolmap.Reconstruction(os.fspath(folder))
        except (RuntimeError, ValueError, IndexError, OSError, MemoryError) as error:
            raise ValueError(
                f"`models` must be COLMAP models that pycolmap {pycolmap.__version__} can read: {error}. "
                f"Received: {folder}"
            ) from error
        return _as_arrays(model, number)


def _is_model(folder: Path) -> bool:
    return any((folder / f"images{suffix}").is_file() for suffix in _SUFFIXES)


def _as_arrays(model: Any, number: int) -> ColmapModel:
    ids, positions = _points(model)
    images = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)
    observed = [_observations(model, image, ids, positions) for image in images]
    poses = np.array([image.cam_from_world().matrix() for image in images]).reshape(-1, 3, 4)
    rotations = poses[:, :, :3]
    return ColmapModel(
        number,
        names=np.array([image.name for image in images], np.dtypes.StringDType()),
        centres=-np.einsum("nji,nj->ni", rotations, poses[:, :, 3]),
        rotations=rotations,
        positions=positions,
        point_starts=np.cumsum([0, *(len(points) for points, _ in observed)]),
        points=np.concatenate([points for points, _ in observed] or [np.empty(0, np.int64)]),
        scales=np.concatenate([scales for _, scales in observed] or [np.empty(0, np.float32)]),
    )


def _points(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Ids, ascending, and positions of the points of a model."""
    ids = np.fromiter(model.points3D.keys(), np.int64)
    positions = np.array([point.xyz for point in model.points3D.values()], np.float64).reshape(-1, 3)
    order = np.argsort(ids)
    return ids[order], positions[order]


def _observations(model: Any, image: Any, ids: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the points that an image observes in front of it, and the scales at which it sees them."""
    # A track may pass an image twice.
    seen = np.unique(np.fromiter((point.point3D_id for point in image.get_observation_points2D()), np.int64))
    rows = np.searchsorted(ids, seen)
    forward = image.cam_from_world().matrix()[2]
    depths = positions[rows] @ forward[:3] + forward[3]
    in_front = depths > 0
    focal_length = model.cameras[image.camera_id].mean_focal_length()
    return rows[in_front], (focal_length / depths[in_front]).astype(np.float32)
