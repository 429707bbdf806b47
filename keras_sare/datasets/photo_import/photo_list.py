"""Photos with what is known of where and when they were taken."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, eq=False)
class PhotoList:
    """Photos of a folder, as parallel arrays; what is not known is NaN or an empty text.

    Attributes:
        names: StringDType [N], files relative to the folder, with slashes.
        latitudes: float64 [N] WGS84 degrees.
        longitudes: float64 [N] WGS84 degrees.
        headings: float64 [N], where the camera looks, degrees clockwise from north.
        seconds: float64 [N] since 1970, of the camera's clock or UTC, whichever the source has.
        sequences: StringDType [N], the source's own name of the walk or drive.
        places: StringDType [N], name of the place.
    """

    names: np.ndarray
    latitudes: np.ndarray
    longitudes: np.ndarray
    headings: np.ndarray
    seconds: np.ndarray
    sequences: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, names: np.ndarray, **known: np.ndarray) -> "PhotoList":
        """Photos of which only what is given is known."""
        unknown = np.full(len(names), np.nan)
        empty = np.zeros(len(names), np.dtypes.StringDType())
        defaults = {field.name: empty if field.name in ("sequences", "places") else unknown for field in fields(cls)}
        return cls(**(defaults | known | {"names": names}))

    @property
    def located(self) -> np.ndarray:
        """Which photos have a position: bool [N]."""
        return np.isfinite(self.latitudes) & np.isfinite(self.longitudes)

    def subset(self, keep: np.ndarray) -> "PhotoList":
        """The photos of a mask or of indices."""
        return PhotoList(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})
