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

    The first of these that is there is read:

    * `root/places.csv` (see `read_csv`; it also names the traversals);
    * the NetVLAD files `datasets/*_{train,val,test}.mat`, or `*_{train,val,test}.mat` in `root` itself (see
      `read_dbstruct`);
    * OpenIBL's `meta.json` and `splits.json`, or `meta_30k.json` and `splits_30k.json`, with images in `raw`; positions
      are planar, and the place of an image is its identity;
    * the VG benchmark's `images/{train,val,test}/{database,queries}/@easting@northing@....jpg` (positions, headings and
      timestamps in the names), also without `images`, and with folders below;
    * GSV-Cities' `Dataframes/*.csv` and `Images/`: one split, "train", by place; the newest photo of each place is a
      query.

    Args:
        root: the dataset's folder.
        prefix: how the name of the .mat files begins, where a folder holds several datasets ("pitts30k"); with OpenIBL
            what follows `meta_`, with GSV-Cities a city.

    Returns:
        The datasets by split: those of "train", "val" and "test" that exist; with a CSV file, the splits that it names.

    Raises:
        FileNotFoundError: none of these files exists.
        ValueError: two datasets fit, or a file cannot be read.
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


def is_listed(root: str | os.PathLike[str], prefix: str = "") -> bool:
    """Whether a folder holds a dataset in one of the ways that `open_splits` knows.

    Args:
        root: as of `open_splits`.
        prefix: as of `open_splits`.
    """
    return any(reader.fits(Path(root), prefix) for reader in READERS)


def _reader(root: Path, prefix: str) -> PlaceReader:
    for reader in READERS:
        if reader.fits(root, prefix):
            return reader
    *others, last = [file.replace("*", f"{prefix}*") for reader in READERS for file in reader.files]
    ways = f"{', '.join(others)} or {last}"
    if not root.is_dir():
        raise FileNotFoundError(f"`root` must hold {ways}. Received: root={root}, which is not a folder")
    raise FileNotFoundError(
        f"`root` must hold {ways}; `python -m trainers.import_photos` makes a places.csv. Received: root={root}"
    )
