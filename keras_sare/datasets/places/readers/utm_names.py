"""Positions in the names of files, as the VG benchmark writes them."""

import os
from pathlib import PurePath
from typing import NamedTuple

_NORTH = "N"
"""First of the letters of UTM's bands that lie north of the equator."""


class UtmName(NamedTuple):
    """What a name says.

    Attributes:
        easting: metres.
        northing: metres.
        zone: 1 to 60; None where the name says none.
        south: whether northings count from 10 000 km south of the equator.
        coordinates: latitude and longitude, degrees, where the name says them.
        panorama: name of the panorama that the image was cut out of.
        heading: degrees clockwise from north; NaN where the name says none.
        timestamp: as written, YYYYMMDD_hhmmss; fields from the right may be missing.
    """

    easting: float
    northing: float
    zone: int | None
    south: bool
    coordinates: tuple[float, float] | None
    panorama: str
    heading: float
    timestamp: str


def parse_utm_name(path: str | os.PathLike[str]) -> UtmName | None:
    """Takes apart a name of the VG benchmark (Berton et al., "Deep Visual Geo-localization Benchmark", 2022).

    Such names are `@easting@northing@zone@letter@lat@lon@panorama@tile@heading@pitch@roll@height@timestamp@note@.jpg`;
    all but the first two fields may be empty, or missing at the end.

    Args:
        path: of the file.

    Returns:
        None where the name is no such name: it does not begin with @, or a position is no number.
    """
    name = PurePath(path).name
    if not name.startswith("@"):
        return None
    fields = [field.strip() for field in name.split("@")[1:-1]]
    fields += [""] * (14 - len(fields))
    easting = _number(fields[0])
    northing = _number(fields[1])
    zone = fields[2].lstrip("0")
    heading = _number(fields[8])
    if easting is None or northing is None:
        return None
    return UtmName(
        easting=easting,
        northing=northing,
        zone=int(zone) if zone.isdecimal() and zone.isascii() and len(zone) <= 2 and 1 <= int(zone) <= 60 else None,
        south="A" <= fields[3].upper()[:1] < _NORTH,
        coordinates=_coordinates(_number(fields[4]), _number(fields[5])),
        panorama=fields[6],
        heading=float("nan") if heading is None else heading,
        timestamp=fields[12],
    )


def _number(text: str) -> float | None:
    """A finite number."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _coordinates(latitude: float | None, longitude: float | None) -> tuple[float, float] | None:
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return latitude, longitude
