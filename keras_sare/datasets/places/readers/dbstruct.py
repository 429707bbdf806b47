"""The dbStruct files of NetVLAD: Pittsburgh, Tokyo 24/7, TokyoTM and whatever follows their layout."""

import os
from pathlib import Path
from typing import NamedTuple

from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.readers.folders import DATABASE_FOLDERS, QUERY_FOLDERS, join_image_folder
from keras_sare.datasets.places.readers.matlab_fields import MatlabFields, describe
from keras_sare.utils.formats.matlab_file import read_matlab

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
    """Reads a NetVLAD dbStruct file (Arandjelovic et al., 2016), MATLAB version 5 to 7.3.

    Fields are found by name, since their order differs between files: dbImageFns, utmDb (2 x N, metres), numImages,
    qImageFns, utmQ, numQueries and, in TokyoTM, dbTimeStamp and qTimeStamp. Names may be a cell array, cells in cells,
    an array of MATLAB's class string or a character matrix. The image files need not exist.

    Args:
        path: the .mat file.
        root: the folder of the images: the database in `root/images`, the queries in `root/queries`,
            `root/queries_real`, `root/query` or `root/images`, or either in `root` itself, wherever most of the
            files are (see `join_image_folder`).

    Returns:
        A dataset named as the file without its suffix, with planar positions. Its training positives are farther than
        1 m, and where the file has timestamps its positives have another one than the query.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no MATLAB file of these versions, holds no dbStruct, or does not agree with itself.
    """
    path = Path(path)
    struct = _load_struct(path, (_DATABASE, _QUERIES))
    database = _image_set(struct, _DATABASE, root, DATABASE_FOLDERS)
    queries = _image_set(struct, _QUERIES, root, QUERY_FOLDERS)
    other_timestamps = database.timestamps is not None or queries.timestamps is not None
    return PlaceDataset(path.stem, database, queries, SAME_PANORAMA, other_timestamps)


def read_dbstruct_database(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> ImageSet:
    """Reads the database images of a dbStruct file alone: it need not list queries.

    Args:
        path: as of `read_dbstruct`.
        root: as of `read_dbstruct`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_dbstruct`.
    """
    return _image_set(_load_struct(Path(path), (_DATABASE,)), _DATABASE, root, DATABASE_FOLDERS)


def _load_struct(path: Path, sides: tuple[_Fields, ...]) -> MatlabFields:
    contents = read_matlab(path)
    struct = contents.get("dbStruct")
    if not isinstance(struct, dict):
        found = [f"{name}: {describe(value)}" for name, value in contents.items()]
        raise ValueError(f"`path` must hold one struct named dbStruct. Received: path={path} that holds {found}")
    missing = [name for side in sides for name in side[:2] if name not in struct]
    if missing:
        raise ValueError(
            f"The dbStruct in `path` must have the fields {missing}, it has {list(struct)}. Received: path={path}"
        )
    return MatlabFields(struct, path)


def _image_set(
    struct: MatlabFields, names: _Fields, root: str | os.PathLike[str], folders: tuple[str, ...]
) -> ImageSet:
    listed = struct.file_names(names.images)
    positions = struct.positions(names.positions, len(listed))
    struct.check_count(names.number, names.images, len(listed))
    return ImageSet(join_image_folder(root, folders, listed), positions, struct.timestamps(names.timestamps))
