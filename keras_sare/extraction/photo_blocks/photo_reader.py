"""The bytes of a photo, checked, and what they say of where it was taken."""

import hashlib
import io
import os
from dataclasses import replace

import numpy as np
from PIL import Image

from keras_sare.datasets.photo_import.exif import photo_exif
from keras_sare.datasets.photo_import.sources import from_names
from keras_sare.datasets.photo_sources.files import FileTooLargeError, read_range
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.extraction.photo_blocks.unusable import UnusablePhotoError
from keras_sare.utils.error_text import one_line

_FORMATS = ("JPEG", "PNG", "WEBP")
_LONGEST_REASON = 300


def read_photo(photo: SourcePhoto, kind: str, max_bytes: int) -> tuple[SourcePhoto, bytes]:
    """Reads a photo.

    Args:
        photo: as its source lists it.
        kind: of the source's positions.
        max_bytes: that it may have.

    Returns:
        The photo, with the position, heading and time that its name or its EXIF says where its source says no
        position; and its bytes.

    Raises:
        UnusablePhotoError: it cannot be read, is another one than its SHA-256 says, or nothing says where it was taken.
    """
    if fault := photo.fault(kind):
        raise UnusablePhotoError(fault)
    contents = _contents(photo, max_bytes)
    if photo.sha256 and hashlib.sha256(contents).hexdigest() != photo.sha256.lower():
        raise UnusablePhotoError("another file than its sha256 says")
    located = photo if photo.located or kind != "degrees" else _located(photo, contents)
    if not located.located or located.fault(kind):
        raise UnusablePhotoError("no position: neither its source, its name nor its EXIF says one")
    return located, contents


def _contents(photo: SourcePhoto, max_bytes: int) -> bytes:
    try:
        contents = read_range(photo.uri, max_bytes, photo.offset, photo.size)
    except FileNotFoundError as error:
        raise UnusablePhotoError("missing") from error
    except FileTooLargeError as error:
        raise UnusablePhotoError(str(error)) from error
    except ImportError:  # Of all photos at this kind of address.
        raise
    except Exception as error:  # What opens addresses raises what it likes.
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UnusablePhotoError(str(reason)[:_LONGEST_REASON]) from error
    if not contents:
        raise UnusablePhotoError("empty file")
    return contents


def _located(photo: SourcePhoto, contents: bytes) -> SourcePhoto:
    name = os.path.basename(photo.name)
    if name.startswith("@"):
        named, _ = from_names("", np.array([name], np.dtypes.StringDType()))
        position = float(named.latitudes[0]), float(named.longitudes[0])
        heading = float(named.headings[0])
        seconds = float(named.seconds[0])
    else:
        try:
            with Image.open(io.BytesIO(contents), formats=_FORMATS) as picture:
                exif = Image.Exif()
                exif.load(picture.info.get("exif", b""))
            found = photo_exif(exif)
        except Exception:  # noqa: BLE001  # Of damaged files and damaged EXIF Pillow raises what it likes.
            return photo
        position = found.latitude, found.longitude
        heading = found.heading
        seconds = found.seconds
    time = photo.time or ("" if np.isnan(seconds) else str(np.datetime64(int(seconds), "s")))
    heading = heading if np.isnan(photo.heading) else photo.heading
    return replace(photo, position=position, heading=heading, time=time)
