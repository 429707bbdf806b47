"""The dbStruct files of NetVLAD: Pittsburgh, Tokyo 24/7, TokyoTM and whatever follows their layout."""

import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from keras_sare.datasets.folders import DATABASE_FOLDERS, QUERY_FOLDERS, join_image_folder
from keras_sare.datasets.image_set import ImageSet
from keras_sare.datasets.place_dataset import PlaceDataset

SAME_PANORAMA = 1.0
"""Metres within which images of these datasets are views of one panorama (NetVLAD's published code)."""


class _Fields(NamedTuple):
    images: str
    positions: str
    number: str
    timestamps: str


_DATABASE = _Fields("dbImageFns", "utmDb", "numImages", "dbTimeStamp")
_QUERIES = _Fields("qImageFns", "utmQ", "numQueries", "qTimeStamp")


def read_dbstruct(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> PlaceDataset:
    """Reads a NetVLAD dbStruct file (Arandjelovic et al., 2016), MATLAB version 5 to 7.

    Fields are found by name, since their order differs between files: dbImageFns, utmDb (2 x N, metres), numImages,
    qImageFns, utmQ, numQueries and, in TokyoTM, dbTimeStamp and qTimeStamp. The images need not be there.

    Args:
        path: the .mat file.
        root: the folder of the images: the database in `root/images`, the queries in `root/queries`,
            `root/queries_real`, `root/query` or `root/images`, or either in `root` itself, wherever the most of the
            files are (see `join_image_folder`).

    Returns:
        A dataset named as the file without its suffix, with planar positions. Its training positives are farther than
        1 m, and where the file has timestamps its positives have another one than the query.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no MATLAB file of these versions, holds no dbStruct, or does not agree with itself.
    """
    path = Path(path)
    struct = _load_struct(path)
    database = _image_set(path, struct, _DATABASE, root, DATABASE_FOLDERS)
    queries = _image_set(path, struct, _QUERIES, root, QUERY_FOLDERS)
    other_timestamps = database.timestamps is not None or queries.timestamps is not None
    return PlaceDataset(path.stem, database, queries, SAME_PANORAMA, other_timestamps)


def _load_struct(path: Path) -> np.void:
    with path.open("rb") as file:
        try:
            contents = loadmat(file)
        except NotImplementedError as error:
            raise ValueError(
                "`path` must be a MATLAB file of version 5 to 7; this one is version 7.3 (HDF5). Save it again "
                f"in MATLAB with save(..., '-v7'). Received: path={path}"
            ) from error
        except (ValueError, TypeError, OSError, EOFError, MatReadError, zlib.error) as error:
            raise ValueError(
                "`path` must be a MATLAB file of version 5 to 7 that holds a dbStruct; it cannot be read as one: "
                f"{error}. Received: path={path}"
            ) from error
    struct = contents.get("dbStruct", np.empty(0))
    if struct.dtype.names is None or struct.size != 1:
        found = [f"{name}: {np.shape(value)}" for name, value in contents.items() if not name.startswith("__")]
        raise ValueError(f"`path` must hold one struct named dbStruct. Received: path={path} that holds {found}")
    return struct.flat[0]


def _image_set(
    path: Path, struct: np.void, names: _Fields, root: str | os.PathLike[str], folders: tuple[str, ...]
) -> ImageSet:
    present = struct.dtype.names or ()
    missing = [name for name in (names.images, names.positions) if name not in present]
    if missing:
        raise ValueError(
            f"The dbStruct in `path` must have the fields {missing}, it has {list(present)}. Received: path={path}"
        )
    listed = _texts(struct[names.images])
    positions = struct[names.positions]
    if positions.shape != (2, len(listed)):
        raise ValueError(
            f"`{names.positions}` must be 2 x {len(listed)}, one column for each of `{names.images}`. "
            f"Received: path={path}, {names.positions} of shape {positions.shape}"
        )
    if names.number in present and struct[names.number].ravel().tolist() != [len(listed)]:
        raise ValueError(
            f"`{names.number}` must be the number of `{names.images}`, {len(listed)}: the file was cut or edited. "
            f"Received: path={path}, {names.number}={struct[names.number].ravel().tolist()}"
        )
    timestamps = struct[names.timestamps] if names.timestamps in present else None
    if timestamps is not None:
        timestamps = _texts(timestamps) if timestamps.dtype.kind in "OU" else timestamps.ravel()
    return ImageSet(join_image_folder(root, folders, listed), positions.T, timestamps)


def _texts(cells: np.ndarray) -> np.ndarray:
    texts = [str(np.squeeze(cell)).strip() for cell in cells.ravel()]
    return np.array(texts, dtype=np.dtypes.StringDType())
