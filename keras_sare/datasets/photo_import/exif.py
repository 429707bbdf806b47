"""Where and when a photo was taken, as its EXIF says."""

import datetime
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from keras_sare.datasets.images.unreadable import why_unreadable
from keras_sare.utils.progress import progress

_FORMATS = ("JPEG", "PNG", "WEBP")
_THREADS = 8
_FILES_PER_TASK = 16
_UNKNOWN = float("nan")
_UTC = datetime.UTC
_RECORD = np.dtype(
    [(name, np.float64) for name in ("latitude", "longitude", "heading", "seconds", "offset")]
    + [("magnetic", np.bool_), ("unreadable", np.bool_)]
)


class PhotoExif(NamedTuple):
    """What the EXIF of a photo says; NaN where it says nothing that can be understood.

    Attributes:
        latitude: WGS84 degrees.
        longitude: WGS84 degrees.
        heading: degrees clockwise from north.
        seconds: since 1970, of the camera's clock as if it were UTC; of GPS where the camera noted none.
        offset: seconds that the camera's clock is ahead of UTC.
        magnetic: whether north of the heading is the compass's.
        unreadable: whether the file is no image.
    """

    latitude: float = _UNKNOWN
    longitude: float = _UNKNOWN
    heading: float = _UNKNOWN
    seconds: float = _UNKNOWN
    offset: float = _UNKNOWN
    magnetic: bool = False
    unreadable: bool = False


def read_exif(root: str | os.PathLike[str], names: np.ndarray) -> np.ndarray:
    """Reads what the EXIF of photos says of place and time; no pixel is decoded.

    Args:
        root: the folder.
        names: StringDType [N], files in it.

    Returns:
        Structured array [N] with the fields of `PhotoExif`.
    """
    records = np.zeros(len(names), _RECORD)
    read = progress(_read_all(os.fspath(root), names), "Reading EXIF", len(names), "image")
    for i, one in enumerate(read):
        records[i] = tuple(one)
    return records


def _read_all(root: str, names: np.ndarray) -> Iterator[PhotoExif]:
    with closing(ThreadPool(_THREADS)) as pool:
        yield from pool.imap(partial(_read, root), map(str, names), _FILES_PER_TASK)


def _read(root: str, name: str) -> PhotoExif:
    try:
        with Image.open(os.path.join(root, name), formats=_FORMATS) as picture:
            data = picture.info.get("exif", b"")
    except Exception:  # Of damaged files and of large ones Pillow raises what it likes, of damaged EXIF too.
        return PhotoExif(unreadable=why_unreadable(os.path.join(root, name)) is not None)
    try:
        exif = Image.Exif()
        exif.load(data)
        return photo_exif(exif)
    except Exception:
        return PhotoExif()


def photo_exif(exif: Image.Exif) -> PhotoExif:
    """Takes place and time out of EXIF that Pillow has parsed."""
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    taken = camera.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    seconds = _seconds(taken) + _fraction(camera.get(ExifTags.Base.SubsecTimeOriginal))
    offset = _offset(camera.get(ExifTags.Base.OffsetTimeOriginal) or camera.get(ExifTags.Base.OffsetTime))
    if math.isnan(seconds):
        seconds = _gps_seconds(gps)
        offset = 0.0 if math.isfinite(seconds) else _UNKNOWN
    return PhotoExif(
        latitude=_degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), 90),
        longitude=_degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), 180),
        heading=_number(gps.get(ExifTags.GPS.GPSImgDirection)) % 360,
        seconds=seconds,
        offset=offset,
        magnetic=_text(gps.get(ExifTags.GPS.GPSImgDirectionRef)).upper().startswith("M"),
    )


def _degrees(value: Any, reference: Any, most: float) -> float:
    """Degrees, minutes and seconds, or the first of them, west and south below 0."""
    parts = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    if not 1 <= len(parts) <= 3:
        return _UNKNOWN
    degrees = sum(_number(part) / 60**power for power, part in enumerate(parts))
    sign = -1 if _text(reference).upper()[:1] in ("S", "W") else 1
    return sign * degrees if abs(degrees) <= most else _UNKNOWN


def _number(value: Any) -> float:
    """A finite number; EXIF has fractions, and 0/0 for what is not known."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return _UNKNOWN
    return number if math.isfinite(number) else _UNKNOWN


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _seconds(value: Any) -> float:
    """Of "2026:05:01 12:00:03" and its like."""
    numbers = [int(number) for number in re.findall(r"\d+", _text(value)[:40], re.ASCII)[:6]]
    try:
        year, month, day, hour, minute, second = numbers + [0] * (6 - len(numbers))
        return datetime.datetime(year, month, day, hour, minute, second, tzinfo=_UTC).timestamp()
    except (ValueError, OverflowError):
        return _UNKNOWN


def _fraction(value: Any) -> float:
    digits = _text(value).strip(" \0")[:9]
    return float(f"0.{digits}") if digits.isascii() and digits.isdigit() else 0.0


def _offset(value: Any) -> float:
    """Of "+02:00"."""
    found = re.fullmatch(r"([+-])(\d\d):?(\d\d)", _text(value).strip(" \0"), re.ASCII)
    if not found:
        return _UNKNOWN
    sign, hours, minutes = found.groups()
    return (-1 if sign == "-" else 1) * (3600.0 * int(hours) + 60.0 * int(minutes))


def _gps_seconds(gps: dict[int, Any]) -> float:
    time = gps.get(ExifTags.GPS.GPSTimeStamp)
    if not isinstance(time, Sequence) or len(time) != 3:
        return _UNKNOWN
    hours, minutes, seconds = (_number(part) for part in time)
    return _seconds(gps.get(ExifTags.GPS.GPSDateStamp)) + 3600 * hours + 60 * minutes + seconds
