"""The dbStruct files of a folder, one for each split."""

from pathlib import Path

from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.readers.dbstruct import read_dbstruct, read_dbstruct_database
from keras_sare.datasets.places.readers.place_reader import PlaceReader

_SPLITS = ("train", "val", "test")


def _read(root: Path, prefix: str) -> dict[str, PlaceDataset]:
    return {split: read_dbstruct(file, root) for split, file in _files(root, prefix).items()}


def _read_databases(root: Path, prefix: str) -> dict[str, ImageSet]:
    return {split: read_dbstruct_database(file, root) for split, file in _files(root, prefix).items()}


def _files(root: Path, prefix: str) -> dict[str, Path]:
    """The files by split, from the first folder that has any."""
    for folder in (root / "datasets", root):
        files = {split: sorted(folder.glob(f"{prefix}*_{split}.mat")) for split in _SPLITS}
        for split, found in files.items():
            if len(found) > 1:
                raise ValueError(
                    f"One file must fit the split {split!r}; choose a dataset by `prefix`, or open the file with "
                    f"read_dbstruct. Received: root={root}, prefix={prefix!r}, found {[file.name for file in found]}"
                )
        if any(files.values()):
            return {split: found[0] for split, found in files.items() if found}
    return {}


DBSTRUCT = PlaceReader(
    files=("datasets/*_{train,val,test}.mat", "*_{train,val,test}.mat"),
    fits=lambda root, prefix: bool(_files(root, prefix)),
    read=_read,
    read_databases=_read_databases,
)
"""`datasets/*_{train,val,test}.mat`, or the same in the folder itself."""
