"""Opens a dataset's folder."""

import os
from pathlib import Path

from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.readers import READERS, PlaceReader


def open_dataset(root: str | os.PathLike[str], split: str = "test", prefix: str = "") -> PlaceDataset:
    """Opens one split of the dataset in a folder: its database, its queries, and where they are.

    Args:
        root: as of `open_splits`.
        split: "train", "val" or "test"; with a CSV file, one of the splits that it names.
        prefix: as of `open_splits`.

    Raises:
        FileNotFoundError: as `open_splits`.
        ValueError: there is no such split, or as `open_splits`.

    Example:

        dataset = keras_sare.open_dataset("pitts30k", split="test")
        positives = dataset.positives(radius=25)
    """
    splits = open_splits(root, prefix)
    if split not in splits:
        raise ValueError(
            f"`split` must be one that {os.fspath(root)} has: {', '.join(splits)}. Received: split={split!r}"
        )
    return splits[split]


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
    return _reader(Path(root), prefix).read(Path(root), prefix)


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
    reader = _reader(Path(root), prefix)
    if reader.read_databases is None:
        return {split: dataset.database for split, dataset in reader.read(Path(root), prefix).items()}
    return reader.read_databases(Path(root), prefix)


def _reader(root: Path, prefix: str) -> PlaceReader:
    for reader in READERS:
        if reader.fits(root, prefix):
            return reader
    *others, last = [file.replace("*", f"{prefix}*") for reader in READERS for file in reader.files]
    raise FileNotFoundError(
        f"`root` must hold {', '.join(others)} or {last}. Received: root={root}"
        + ("" if root.is_dir() else ", which is not a folder")
    )
