"""Opens a dataset's folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from keras_sare.datasets.places.csv_places import read_csv, read_csv_databases
from keras_sare.datasets.places.dbstruct import read_dbstruct, read_dbstruct_database
from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset

Read = TypeVar("Read")

_CSV = "places.csv"
_SPLITS = ("train", "val", "test")


def open_splits(root: str | os.PathLike[str], prefix: str = "") -> dict[str, PlaceDataset]:
    """Opens the dataset in a folder, whichever way it is listed there.

    `root/places.csv` comes first (see `read_csv`; it also names the traversals). Else the NetVLAD files
    `datasets/*_{train,val,test}.mat`, or `*_{train,val,test}.mat` in `root` itself (see `read_dbstruct`).

    Args:
        root: the dataset's folder.
        prefix: how the name of the .mat files begins, where a folder holds several datasets ("pitts30k").

    Returns:
        The datasets by split: those of "train", "val" and "test" that exist; with a CSV file, the splits that it names.

    Raises:
        FileNotFoundError: none of these files exists.
        ValueError: two .mat files fit a split, or a file cannot be read.
    """
    return _open(Path(root), prefix, read_csv, read_dbstruct)


def open_databases(root: str | os.PathLike[str], prefix: str = "") -> dict[str, ImageSet]:
    """Opens the database images of a dataset's folder: a map of known places, which need not have queries.

    Args:
        root: as of `open_splits`.
        prefix: as of `open_splits`.

    Returns:
        The images by split, those splits that have any.

    Raises:
        FileNotFoundError: as `open_splits`.
        ValueError: as `open_splits`.
    """
    return _open(Path(root), prefix, read_csv_databases, read_dbstruct_database)


def _open(
    root: Path,
    prefix: str,
    read_list: Callable[[Path, Path], dict[str, Read]],
    read_mat: Callable[[Path, Path], Read],
) -> dict[str, Read]:
    if (root / _CSV).exists():
        return read_list(root / _CSV, root)
    for folder in (root / "datasets", root):
        files = {split: sorted(folder.glob(f"{prefix}*_{split}.mat")) for split in _SPLITS}
        for split, found in files.items():
            if len(found) > 1:
                raise ValueError(
                    f"One file must fit the split {split!r}; choose a dataset by `prefix`, or open the file with "
                    f"read_dbstruct. Received: root={root}, prefix={prefix!r}, found {[file.name for file in found]}"
                )
        if any(files.values()):
            return {split: read_mat(found[0], root) for split, found in files.items() if found}
    wanted = f"{prefix}*_{{{','.join(_SPLITS)}}}.mat"
    raise FileNotFoundError(
        f"`root` must hold {_CSV}, datasets/{wanted} or {wanted}. Received: root={root}"
        + ("" if root.is_dir() else ", which is not a folder")
    )
