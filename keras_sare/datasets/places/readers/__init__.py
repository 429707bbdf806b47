"""Readers of place datasets: one file for each way in which a folder lists its photos and their positions.

To add one, write a file beside these and name its reader in `READERS`; see docs/extend/place_dataset.md.
"""

from keras_sare.datasets.places.readers.csv_places import CSV
from keras_sare.datasets.places.readers.dbstruct_files import DBSTRUCT
from keras_sare.datasets.places.readers.gsv_cities import GSV_CITIES
from keras_sare.datasets.places.readers.openibl import OPENIBL
from keras_sare.datasets.places.readers.place_reader import PlaceReader
from keras_sare.datasets.places.readers.utm_folders import UTM_FOLDERS

READERS: tuple[PlaceReader, ...] = (
    CSV,
    DBSTRUCT,
    OPENIBL,
    UTM_FOLDERS,
    GSV_CITIES,
)
"""The first that fits a folder reads it."""

__all__ = [
    "CSV",
    "DBSTRUCT",
    "GSV_CITIES",
    "OPENIBL",
    "PlaceReader",
    "READERS",
    "UTM_FOLDERS",
]
