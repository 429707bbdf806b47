"""Datasets of the VG benchmark: positions in the names of the files."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_sare.datasets.images.image_folder import EXTENSIONS
from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.readers.place_reader import PlaceReader
from keras_sare.datasets.places.readers.utm_names import UtmName, parse_utm_name

_SPLITS = ("train", "val", "test")
_NAMED = 3


def _read(root: Path, prefix: str) -> dict[str, PlaceDataset]:
    return {
        split: PlaceDataset(f"{root.resolve().name}_{split}", _images(folder / "database"), _images(folder / "queries"))
        for split, folder in _folders(root).items()
    }


def _read_databases(root: Path, prefix: str) -> dict[str, ImageSet]:
    return {split: _images(folder / "database") for split, folder in _folders(root).items()}


def _folders(root: Path) -> dict[str, Path]:
    """The folders of the splits that have a database, in `images` or, as in SF-XL, in the folder itself."""
    for above in (root / "images", root):
        folders = {split: above / split for split in _SPLITS if (above / split / "database").is_dir()}
        if folders:
            return folders
    return {}


def _images(folder: Path) -> ImageSet:
    """The images under a folder, those of its folders too, sorted."""
    files = sorted(_files(folder))
    if not files:
        raise ValueError(
            f"`root` must hold images named @easting@northing@...@.jpg in {folder}; add them. Received: none"
        )
    parsed = [parse_utm_name(file) for file in files]
    wrong = [file for file, name in zip(files, parsed, strict=True) if name is None]
    if wrong:
        raise ValueError(
            "The name of every file must begin with @easting@northing@ in metres; rename these, or move them away. "
            f"Received: {len(wrong)} of {len(files)} files, such as {', '.join(wrong[:_NAMED])}"
        )
    return _image_set(files, [name for name in parsed if name is not None])


def _image_set(files: list[str], names: list[UtmName]) -> ImageSet:
    coordinates = [name.coordinates for name in names]
    headings = np.array([name.heading for name in names])
    timestamps = np.array([name.timestamp for name in names], np.dtypes.StringDType())
    return ImageSet(
        paths=np.array(files, np.dtypes.StringDType()),
        positions=np.array([(name.easting, name.northing) for name in names]),
        coordinates=None if None in coordinates else np.array(coordinates, np.float64),
        headings=None if np.isnan(headings).all() else headings,
        timestamps=timestamps if (timestamps != "").any() else None,
    )


def _files(folder: Path) -> Iterator[str]:
    for where, _, names in os.walk(folder, followlinks=True):
        for name in names:
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield os.path.join(where, name)


UTM_FOLDERS = PlaceReader(
    files=("images/{train,val,test}/{database,queries}/@easting@northing@...",),
    fits=lambda root, _: bool(_folders(root)),
    read=_read,
    read_databases=_read_databases,
)
"""`images/{train,val,test}/{database,queries}/@easting@northing@....jpg`; it has no prefix."""
