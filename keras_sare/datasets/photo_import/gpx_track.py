"""Tracks of GPS receivers, GPX files, and where one was at a time."""

import datetime
import math
import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from keras_sare.datasets.places.spatial import earth_centred

MOST_BYTES = 2**28
"""A year of points, one a second, has as many."""
_PIECE = 2**16
_LONGEST_TIME = 64
_LONGEST_GAP = 180.0
"""Seconds between two points, above which nothing is known of the way, unless they are at one place."""
_ONE_PLACE = 25.0
_SOON = 5.0
"""Seconds before or after a point in which one was there."""
_QUARTER = 900
_CLOCKS = range(-14 * 3600, 14 * 3600 + 1, _QUARTER)
"""Seconds that clocks of all time zones are ahead of UTC."""


class GpxTrack:
    """Points of one or several GPX files, in the order of time.

    Args:
        paths: the files; those of one receiver.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is too large, no GPX, declares a document type, or holds no points with times.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        points = np.concatenate([_read(Path(path)) for path in paths])
        self.seconds, first = np.unique(points[:, 0], return_index=True)
        self._latitudes = points[first, 1]
        self._longitudes = np.unwrap(points[first, 2], period=360)
        ways = np.linalg.norm(np.diff(earth_centred(points[first, 1], points[first, 2]), axis=0), axis=1)
        self._known = (np.diff(self.seconds) <= _LONGEST_GAP) | (ways <= _ONE_PLACE)

    def covers(self, seconds: np.ndarray) -> np.ndarray:
        """Whether the track says where one was at some times, UTC: bool [N]."""
        after = np.searchsorted(self.seconds, seconds, side="left")
        padded = np.concatenate([[-np.inf], self.seconds, [np.inf]])
        soon = np.minimum(seconds - padded[after], padded[after + 1] - seconds) <= _SOON
        return np.asarray(np.concatenate([[False], self._known, [False]])[after] | soon)

    def at(self, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Latitudes and longitudes at some times, in between points on the straight line; NaN where not covered."""
        covered = self.covers(seconds)
        latitudes = np.where(covered, np.interp(seconds, self.seconds, self._latitudes), np.nan)
        longitudes = np.where(covered, np.interp(seconds, self.seconds, self._longitudes), np.nan)
        return latitudes, (longitudes + 180) % 360 - 180

    def likely_offset(self, seconds: np.ndarray) -> tuple[int, int]:
        """The clock that fits best: seconds that it is ahead of UTC, a whole quarter of an hour, and photos covered."""
        fitting = {offset: int(self.covers(seconds - offset).sum()) for offset in _CLOCKS}
        best = max(fitting, key=lambda offset: (fitting[offset], -abs(offset)))
        return best, fitting[best]


def _read(path: Path) -> np.ndarray:
    """Times, latitudes and longitudes of a file: float64 [N, 3]."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(
            f"`gpx` must be files of at most {MOST_BYTES // 2**20} MiB; cut the track. "
            f"Received: {path} of {size // 2**20} MiB"
        )
    points = _Points(path)
    with path.open("rb") as file:
        try:
            while piece := file.read(_PIECE):
                points.parser.Parse(piece, False)
            points.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise ValueError(f"`gpx` must be whole GPX files ({error}); write it anew. Received: {path}") from error
    found = np.array(points.found).reshape(-1, 3)
    if not len(found):
        raise ValueError(f"`gpx` must hold trkpt with lat, lon and time. Received: {path} without one")
    return found


class _Points:
    """Takes the points out of a file while it is parsed: of XML nothing else is kept."""

    def __init__(self, path: Path) -> None:
        self.found = array("d")
        self._path = path
        self._point: tuple[float, float] | None = None
        self._time: str | None = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        # Entities, which can grow a file a millionfold, need a document type, which GPX has not.
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: Any) -> None:
        raise ValueError(f"`gpx` must be GPX without a document type (<!DOCTYPE); take it out. Received: {self._path}")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "trkpt":
            self._point = _position(attributes)
        elif name == "time" and self._point:
            self._time = ""

    def _text(self, text: str) -> None:
        if self._time is not None:
            self._time = (self._time + text)[:_LONGEST_TIME]

    def _end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        if name == "time" and self._point and self._time is not None:
            seconds = parse_time(self._time)
            if math.isfinite(seconds):
                self.found.extend((seconds, *self._point))
            self._time = None
        elif name == "trkpt":
            self._point = None


def parse_time(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time, UTC where it names no zone; NaN of any other text."""
    try:
        time = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return float("nan")
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()


def _position(attributes: dict[str, str]) -> tuple[float, float] | None:
    try:
        latitude = float(attributes.get("lat", ""))
        longitude = float(attributes.get("lon", ""))
    except ValueError:
        return None
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None
