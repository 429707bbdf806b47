"""What a reader of place datasets is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.place_dataset import PlaceDataset


@dataclass(frozen=True)
class PlaceReader:
    """One way in which a folder may list its places.

    All functions take the folder and a prefix, which chooses one of several datasets in it where the names of its files
    begin with it; "" takes any.

    Attributes:
        files: names of the files that it looks for, for messages; a "*" stands where the prefix is looked for.
        fits: whether the folder is listed in this way.
        read: gives the datasets by split.
        read_databases: gives the database images by split, of lists without queries too. None takes them from `read`.
    """

    files: tuple[str, ...]
    fits: Callable[[Path, str], bool]
    read: Callable[[Path, str], dict[str, PlaceDataset]]
    read_databases: Callable[[Path, str], dict[str, ImageSet]] | None = None
