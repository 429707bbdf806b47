"""The ways in which a folder says where its photos were taken."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from keras_sare.datasets.checks.finding import NOTE, WARNING, Finding
from keras_sare.datasets.images.same_photos import first_names
from keras_sare.datasets.photo_import.exif import read_exif
from keras_sare.datasets.photo_import.gpx_track import GpxTrack
from keras_sare.datasets.photo_import.mapillary import DESCRIPTION
from keras_sare.datasets.photo_import.photo_list import PhotoList
from keras_sare.datasets.places.readers.utm_names import UtmName, parse_utm_name
from keras_sare.datasets.places.transverse_mercator import from_utm
from keras_sare.utils.progress import duration

SOURCES = ("exif", "gpx", "mapillary", "names", "folders")
_MANY = 0.5
"""Share of names that begin with @ where names say the positions."""

Read = tuple[PhotoList, list[Finding]]


def likely_source(root: str | os.PathLike[str], names: np.ndarray, gpx: Sequence[str]) -> str:
    """One of `SOURCES`: a track that is given, a description that lies there, names that begin with @, else EXIF."""
    if gpx:
        return "gpx"
    if (Path(root) / DESCRIPTION).is_file():
        return "mapillary"
    last = [name.rpartition("/")[2] for name in names.tolist()]
    return "names" if sum(name.startswith("@") for name in last) > _MANY * len(last) else "exif"


def from_exif(root: str | os.PathLike[str], names: np.ndarray) -> Read:
    """Positions, directions and times of the photos' own EXIF."""
    names, records, findings = _readable(root, names)
    photos = PhotoList.of(
        names,
        latitudes=records["latitude"],
        longitudes=records["longitude"],
        headings=records["heading"],
        seconds=records["seconds"],
    )
    magnetic = int((records["magnetic"] & np.isfinite(records["heading"])).sum())
    if magnetic:
        message = f"{magnetic} headings are a compass's, of magnetic north, and taken as they are"
        findings.append(Finding("magnetic", NOTE, str(root), message))
    return photos, findings


def from_gpx(
    root: str | os.PathLike[str], names: np.ndarray, gpx: Sequence[str | os.PathLike[str]], clock_offset: float | None
) -> Read:
    """Positions in between the points of a track, at the times of the photos' EXIF.

    Args:
        root: the folder.
        names: StringDType [N], photos in it.
        gpx: files of the track.
        clock_offset: seconds that the camera's clock is ahead of UTC; None for what EXIF says of each photo, or 0.
    """
    track = GpxTrack(gpx)
    names, records, findings = _readable(root, names)
    offsets = np.nan_to_num(records["offset"]) if clock_offset is None else clock_offset
    utc = records["seconds"] - offsets
    latitudes, longitudes = track.at(utc)
    photos = PhotoList.of(
        names, latitudes=latitudes, longitudes=longitudes, headings=records["heading"], seconds=records["seconds"]
    )
    timed = np.isfinite(utc)
    if not timed.all():
        message = f"{(~timed).sum()} photos have no time in their EXIF ({first_names(names[~timed])})"
        findings.append(Finding("no_time", WARNING, str(root), message, "Take them from the camera unchanged"))
    outside = timed & ~photos.located
    if outside.any():
        findings.append(_outside(root, names[outside], utc[outside], track, records["seconds"][timed]))
    return photos, findings


def _outside(
    root: str | os.PathLike[str], names: np.ndarray, utc: np.ndarray, track: GpxTrack, seconds: np.ndarray
) -> Finding:
    """Photos that were taken when the track says nothing."""
    start, end = (np.datetime64(int(second), "s") for second in (track.seconds[0], track.seconds[-1]))
    before = track.seconds[0] - utc.min()
    after = utc.max() - track.seconds[-1]
    farthest = f", up to {duration(max(before, after))} before or after it" if max(before, after) > 0 else ""
    message = f"{len(names)} photos were taken outside of the track, {start} to {end} UTC{farthest}, or in gaps of it"
    advice = "Give the files of the whole way by --gpx"
    offset, covered = track.likely_offset(seconds)
    if covered > len(seconds) - len(names):
        clock = f"{'-' if offset < 0 else '+'}{abs(offset) // 3600:02d}:{abs(offset) % 3600 // 60:02d}"
        advice = f"With --clock_offset={clock} {covered} of {len(seconds)} photos lie on it"
    return Finding("off_track", WARNING, str(root), f"{message} ({first_names(names)})", advice)


def from_names(root: str | os.PathLike[str], names: np.ndarray) -> Read:
    """Positions, headings and times of names as the VG benchmark writes them."""
    parsed = [parse_utm_name(name) for name in names.tolist()]
    degrees = np.array([_degrees(name) for name in parsed]).reshape(-1, 2)
    photos = PhotoList.of(
        names,
        latitudes=degrees[:, 0],
        longitudes=degrees[:, 1],
        headings=np.array([name.heading if name else np.nan for name in parsed]) % 360,
        seconds=np.array([_stamp_seconds(name.timestamp) if name else np.nan for name in parsed]),
    )
    zoneless = np.array([name is not None for name in parsed], bool) & ~photos.located
    if not zoneless.any():
        return photos, []
    message = f"{zoneless.sum()} names say neither UTM zone nor degrees ({first_names(names[zoneless])})"
    return photos, [Finding("no_zone", WARNING, str(root), message, "Write the zone and its letter into them")]


def _degrees(name: UtmName | None) -> tuple[float, float]:
    """What a name says in degrees, else its UTM position, whose last digits are often more."""
    if name is None:
        return np.nan, np.nan
    if name.zone is not None:
        latitude, longitude = from_utm(np.array([[name.easting, name.northing]]), name.zone, name.south)
        return float(latitude[0]), float(longitude[0])
    return name.coordinates or (np.nan, np.nan)


def _stamp_seconds(stamp: str) -> float:
    """Of YYYYMMDD_hhmmss; NaN where the day is missing."""
    digits = stamp.replace("_", "")
    if len(digits) < 8 or not (digits.isascii() and digits.isdigit()):
        return np.nan
    digits = digits[:14].ljust(14, "0")
    day = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    try:
        return float(np.datetime64(f"{day}T{digits[8:10]}:{digits[10:12]}:{digits[12:14]}", "s").astype(np.int64))
    except ValueError:
        return np.nan


def from_folders(root: str | os.PathLike[str], names: np.ndarray) -> Read:
    """No positions: each folder is a place, times are those of EXIF."""
    names, records, findings = _readable(root, names)
    places = np.array([name.rpartition("/")[0] for name in names.tolist()], np.dtypes.StringDType())
    photos = PhotoList.of(names, places=places, headings=records["heading"], seconds=records["seconds"])
    return photos, findings


def _readable(root: str | os.PathLike[str], names: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Finding]]:
    """The photos that are images, with what their EXIF says, and those that are none."""
    records = read_exif(root, names)
    readable = ~records["unreadable"]
    wrong = names[~readable]
    findings = []
    if len(wrong):
        message = f"{len(wrong)} files cannot be read as images ({first_names(wrong)})"
        findings.append(Finding("corrupt", WARNING, str(root), message, "Copy them again, or delete them"))
    return names[readable], records[readable], findings


def camera_folder(name: str) -> str:
    """The folder of a photo, but for those that cameras begin every 999 photos, such as 100GOPRO."""
    folder = PurePosixPath(name).parent
    is_numbered = len(folder.name) == 8 and folder.name[:3].isdigit() and folder.name[:3].isascii()
    folder = folder.parent if is_numbered else folder
    return "" if str(folder) == "." else str(folder)
