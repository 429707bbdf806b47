"""Opens a dataset's folder."""

import os
from pathlib import Path

from keras_sare.datasets.csv_places import read_csv
from keras_sare.datasets.dbstruct import read_dbstruct
from keras_sare.datasets.place_dataset import PlaceDataset

_CSV = "places.csv"
_SPLITS = ("train", "val", "test")


def open_splits(root: str | os.PathLike[str], prefix: str = "") -> dict[str, PlaceDataset]:
    """Opens the dataset in a folder, whichever way it is listed there.

    `root/places.csv` comes first (see `read_csv`; it also tells the passes). Else the NetVLAD files
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
    root = Path(root)
    if (root / _CSV).exists():
        return read_csv(root / _CSV, root)
    for folder in (root / "datasets", root):
        files = {split: sorted(folder.glob(f"{prefix}*_{split}.mat")) for split in _SPLITS}
        for split, found in files.items():
            if len(found) > 1:
                raise ValueError(
                    f"One file must fit the split {split!r}; choose a dataset by `prefix`, or open the file with "
                    f"read_dbstruct. Received: root={root}, prefix={prefix!r}, found {[file.name for file in found]}"
                )
        if any(files.values()):
            return {split: read_dbstruct(found[0], root) for split, found in files.items() if found}
    wanted = f"{prefix}*_{{{','.join(_SPLITS)}}}.mat"
    raise FileNotFoundError(
        f"`root` must hold {_CSV}, datasets/{wanted} or {wanted}. Received: root={root}"
        + ("" if root.is_dir() else ", which is not a folder")
    )
