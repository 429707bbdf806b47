"""The place indexes that a server answers from, by the names of their maps."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from keras_sare.localization import DamagedIndexError, PlaceIndex
from keras_sare.localization.index_record import FILE
from keras_sare.localization.reranking.reranked import Reranker
from keras_sare.utils.error_text import one_line
from serving.arguments import named_folder
from serving.errors import RequestError
from serving.localization.track import Track, track_of

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
Stamp = tuple[int, int, int]


@dataclass
class _Opened:
    folder: Path
    index: PlaceIndex
    stamp: Stamp
    built: datetime
    track: Track | None = None


class Maps:
    """Place indexes, opened. What other programs write to them is seen at the next `poll`.

    Safe to call from several threads; `poll` from one.

    Args:
        places: see `map_folders`.
        rerankers: by the maps' names, what compares their candidates with photos whose answer is not known otherwise.

    Attributes:
        rerankers: as given.

    Raises:
        ImportError: lancedb is not installed.
        FileNotFoundError: a folder is no place index.
        ValueError: one is damaged, or a name is none or stands there twice.
    """

    def __init__(self, places: Sequence[str], rerankers: Mapping[str, Reranker] | None = None) -> None:
        self._opened = {name: _open(folder) for name, folder in map_folders(places).items()}
        self.rerankers = rerankers or {}
        self._troubles: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Of all maps, in the order in which they were given."""
        return list(self._opened)

    def __getitem__(self, name: str) -> PlaceIndex:
        return self._found(name).index

    def description(self, name: str) -> dict[str, Any]:
        """What there is to say of a map, as JSON has it.

        Raises:
            RequestError: NOT_FOUND, there is no such map; UNAVAILABLE, it cannot be read.
        """
        opened = self._found(name)
        index = opened.index
        with readable(name):
            bounds = _track(opened).bounds
        return {
            "name": name,
            "photos": len(index),
            "kind": index.record.kind,
            "bounds": bounds,
            "calibrated": index.record.calibration is not None,
            "digest": index.record.model,
            "built": opened.built.isoformat(timespec="seconds"),
        }

    def track(self, name: str) -> dict[str, Any]:
        """Where the photos of a map are, thinned out where they are many, as JSON has it.

        Raises:
            RequestError: NOT_FOUND, there is no such map; UNAVAILABLE, it cannot be read.
        """
        opened = self._found(name)
        with readable(name):
            track = _track(opened)
        return {
            "map": name,
            "kind": opened.index.record.kind,
            "photos": track.photos,
            "positions": track.positions,
        }

    def thumbnail(self, name: str, photo: str) -> bytes:
        """The thumbnail of a photo, a JPEG file.

        Raises:
            RequestError: NOT_FOUND, there is no such map, no such photo in it, or the photo has none; UNAVAILABLE, the
                map cannot be read.
        """
        try:
            with readable(name):
                found = self[name].thumbnail(photo)
        except KeyError:
            found = None
        if found is None:
            raise RequestError(grpc.StatusCode.NOT_FOUND, "The map has no thumbnail of such a photo")
        return found

    def poll(self) -> None:
        """Takes note of what other programs have written. A map that cannot be read stays as it was."""
        for name, opened in self._opened.items():
            try:
                if _stamp(opened.folder) == opened.stamp:
                    opened.index.refresh()
                else:
                    self._opened[name] = _open(opened.folder)
            except (OSError, ValueError, RuntimeError) as error:
                self._warn(name, one_line(error))
            else:
                self._warn(name, "")

    def _found(self, name: str) -> _Opened:
        if name not in self._opened:
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"`maps` must be some of {', '.join(self._opened)}. Received: {name[:64]!r}"
            )
        return self._opened[name]

    def _warn(self, name: str, trouble: str) -> None:
        if trouble and trouble != self._troubles.get(name):
            logger.error("map %s stays as it was: %s", name, trouble)
        self._troubles[name] = trouble


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Tells clients of maps whose files cannot be read no more than that they may ask again.

    Args:
        name: of the map.

    Raises:
        RequestError: UNAVAILABLE, it cannot be read.
    """
    try:
        yield
    except (DamagedIndexError, OSError) as error:
        logger.error("map %s cannot be read: %s", name, one_line(error))
        text = f"map {name} cannot be read at the moment; the server's log tells why"
        raise RequestError(grpc.StatusCode.UNAVAILABLE, text) from error


def map_folders(places: Sequence[str]) -> dict[str, Path]:
    """Folders of place indexes, by the names of their maps.

    Args:
        places: `FOLDER`, whose name becomes that of the map, or `NAME=FOLDER`.

    Raises:
        ValueError: a name is none, or stands there twice.
    """
    folders: dict[str, Path] = {}
    for place in places:
        name, folder = _named(place)
        if name in folders:
            raise ValueError(
                f"`index` must name each map once; give one another name, NAME=FOLDER. Received: {name} twice"
            )
        folders[name] = folder.absolute()
    return folders


def _named(place: str) -> tuple[str, Path]:
    name, folder = named_folder(place)
    if not _NAME.fullmatch(name):
        raise ValueError(
            "`index` must have a map's name of letters, digits, _, - and ., at most 64; give it one, NAME=FOLDER. "
            f"Received: index={place!r}"
        )
    return name, folder


def _open(folder: Path) -> _Opened:
    stamp = _stamp(folder)
    index = PlaceIndex(folder)
    built = datetime.fromtimestamp((folder / FILE).stat().st_mtime, UTC)
    return _Opened(folder, index, stamp or (0, 0, 0), built)


def _stamp(folder: Path) -> Stamp | None:
    """What changes where a folder is another one, or its record was replaced; not where photos were added."""
    if not folder.is_dir():
        return None
    status = folder.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _track(opened: _Opened) -> Track:
    version = opened.index.version
    if opened.track is None or opened.track.version != version:
        opened.track = track_of(opened.index)
    return opened.track
