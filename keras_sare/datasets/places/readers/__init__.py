"""Readers of place datasets: one file for each way in which a folder lists its photos and their positions.

To add one, write a file beside these and name its reader in `READERS`; see docs/extend/place_dataset.md.
"""

from keras_sare.datasets.places.readers.csv_places import CSV
from keras_sare.datasets.places.readers.dbstruct_files import DBSTRUCT
from keras_sare.datasets.places.readers.place_reader import PlaceReader

READERS: tuple[PlaceReader, ...] = (
    CSV,
    DBSTRUCT,
)
"""The first that fits a folder reads it."""

__all__ = [
    "CSV",
    "DBSTRUCT",
    "PlaceReader",
    "READERS",
]
