"""The photos of WebDataset tar files."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

from keras_sare.datasets.photo_sources.files import file_size, open_file
from keras_sare.datasets.photo_sources.photo_source import Cursor, Listed
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.utils.error_text import one_line

_PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_FACTS = ".json"
_MOST_HEADER = 1 << 20
_MOST_FACTS = 1 << 16
_MOST_TOGETHER = 64
_COUNTED = 256
_POSITIONS = (("latitude", "longitude"), ("lat", "lon"))
_UNKNOWN = float("nan")


class TarPhotos:
    """Photos of tar files that are not compressed, member by member; only the headers are read here.

    A photo is known by the name of its tar file and its own. What is known of it stands in the .json beside it:
    latitude and longitude, heading, time, traversal, sha256; without it, in its EXIF or in its name after @.

    Args:
        files: paths or addresses, in order.

    Raises:
        OSError: the first file cannot be read.
        ValueError: it is no tar file, or holds no photo.
    """

    kind = "degrees"

    def __init__(self, files: Sequence[str]) -> None:
        self._files = [*files]
        stems = {_stem(file) for file in self._files}
        self._names = [_stem(file) if len(stems) == len(self._files) else file for file in self._files]
        if next(self.photos(), None) is None:
            raise ValueError(f"`photos` must name tar files with photos. Received: {files[0]!r} and on, without any")

    def photos(self, start: Cursor = ()) -> Iterator[Listed]:
        """See `PhotoSource.photos`."""
        first, offset, done = (int(one) for one in start) if start else (0, 0, 0)
        for number in range(first, len(self._files)):
            yield from self._of_file(number, *((offset, done) if number == first else (0, 0)))

    def count(self) -> int:
        """See `PhotoSource.count`: as many for a byte as at the start of the first file."""
        sizes = [file_size(file) for file in self._files]
        photos = 0
        end = 0
        for listed in self.photos():
            if listed.after[0]:
                end = sizes[0]
            if listed.after[0] or photos == _COUNTED:
                return max(photos, photos * sum(sizes) // end)
            photos += 1
            end = listed.photo.offset + (listed.photo.size or 0)
        return photos

    def state(self) -> dict[str, Any]:
        """See `PhotoSource.state`."""
        return {"files": len(self._files), "bytes": sum(map(file_size, self._files))}

    def check_names(self, memory: float) -> None:
        """See `PhotoSource.check_names`: that would take reading all files; each shard's names are compared."""

    def _of_file(self, number: int, offset: int, done: int) -> Iterator[Listed]:
        name = self._files[number]
        try:
            with open_file(name) as file:
                file.seek(offset)
                for members in _groups(file):
                    for place, photo in enumerate(self._of_group(number, file, members), start=1):
                        if place > done:
                            yield Listed(photo, [number, members[0].offset, place])
                    done = 0
        except (tarfile.TarError, RecursionError) as error:
            raise ValueError(
                f"{name!r} must be a whole tar file that is not compressed. Received: {one_line(error)}"
            ) from error

    def _of_group(self, number: int, file: Any, members: list[tarfile.TarInfo]) -> Iterator[SourcePhoto]:
        facts: dict[str, Any] = {}
        for member in members:
            if member.name.lower().endswith(_FACTS):
                facts = _facts(file, member)
        for member in members:
            if member.name.lower().endswith(_PHOTOS):
                where: dict[str, Any] = {"offset": member.offset_data, "size": member.size}
                yield SourcePhoto(f"{self._names[number]}/{member.name}", self._files[number], **_known(facts), **where)


def _groups(file: Any) -> Iterator[list[tarfile.TarInfo]]:
    """Files that stand one after the other and have one name up to its first dot, as WebDataset has it."""
    group: list[tarfile.TarInfo] = []
    for member in _members(file):
        if group and (_key(member.name) != _key(group[0].name) or len(group) == _MOST_TOGETHER):
            yield group
            group = []
        group.append(member)
    if group:
        yield group


def _members(file: Any) -> Iterator[tarfile.TarInfo]:
    """Plain files from where the tar file stands on.

    Raises:
        tarfile.ReadError: it is damaged or cut short, which `tarfile` takes for its end.
    """
    with tarfile.open(fileobj=_BoundedReads(file), mode="r:") as tar:  # type: ignore[call-overload]
        while member := tar.next():
            tar.members.clear()  # Which would be kept, all of them.
            if member.size < 0:
                raise tarfile.ReadError(f"a member of {member.size} bytes")
            if member.isreg() and not member.issparse():
                yield member
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"it is damaged at byte {tar.offset}, or ends there")


class _BoundedReads:
    """A file of which only headers are read: what asks for more at once is no header."""

    def __init__(self, file: Any) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        contents: bytes = self._file.read(size)
        return contents


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _stem(file: str) -> str:
    return file.rpartition("/")[2].removesuffix(".tar")


def _facts(file: Any, member: tarfile.TarInfo) -> dict[str, Any]:
    if member.size > _MOST_FACTS:
        return {}
    file.seek(member.offset_data)
    text = file.read(member.size)
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    pairs = [(_number(facts.get(first)), _number(facts.get(second))) for first, second in _POSITIONS]
    known = next((pair for pair in pairs if pair[0] == pair[0] and pair[1] == pair[1]), pairs[0])
    texts = {name: _text(facts.get(name)) for name in ("time", "traversal", "sha256")}
    return {"position": known, "heading": _number(facts.get("heading")), **texts}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else _UNKNOWN


def _text(value: Any) -> str:
    return value[:256] if isinstance(value, str) else ""
