"""The photos of a folder and the folders in it."""

import os
from collections.abc import Iterator
from typing import Any

from keras_sare.datasets.photo_sources.files import file_system, is_address
from keras_sare.datasets.photo_sources.photo_source import Cursor, Listed
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_HIDDEN = (".", "@eaDir")
_DEEPEST = 64


class FolderPhotos:
    """Photos that say themselves where they were taken: by their EXIF, or by names that begin with @.

    The names of one folder at a time are in memory, sorted; what is hidden is left out.

    Args:
        root: the folder, a path or an address.

    Raises:
        OSError: it cannot be read.
    """

    kind = "degrees"

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") or root
        self._entries("")

    def photos(self, start: Cursor = ()) -> Iterator[Listed]:
        """See `PhotoSource.photos`."""
        begun = str(start[0]).split("/") if start else []
        for name in self._walk("", begun, ()):
            yield Listed(SourcePhoto(name, f"{self._root}/{name}"), [name])

    def count(self) -> int:
        """See `PhotoSource.count`."""
        return sum(1 for _ in self._walk("", [], ()))

    def state(self) -> dict[str, Any]:
        """See `PhotoSource.state`: nothing, since photos may be added."""
        return {}

    def check_names(self, memory: float) -> None:
        """See `PhotoSource.check_names`: paths differ."""

    def _walk(self, folder: str, begun: list[str], above: tuple[tuple[int, int], ...]) -> Iterator[str]:
        """Names of the photos of a folder that come after the path `begun`, as seen from it."""
        here = self._identity(folder)
        if here in above or len(above) >= _DEEPEST:  # A link that leads back.
            return
        first = begun[0] if begun else ""
        for name, is_folder in self._entries(folder):
            path = f"{folder}/{name}" if folder else name
            if name < first or name.startswith(_HIDDEN):
                continue
            rest = begun[1:] if name == first else []
            if is_folder:
                yield from self._walk(path, rest, (*above, here))
            elif name.lower().endswith(_EXTENSIONS) and name != first:
                yield path

    def _identity(self, folder: str) -> tuple[int, int]:
        if is_address(self._root):
            return (0, len(folder))
        known = os.stat(f"{self._root}/{folder}")
        return known.st_dev, known.st_ino

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        """Names in a folder, sorted, and whether each is a folder."""
        path = f"{self._root}/{folder}" if folder else self._root
        if is_address(path):
            system, inside = file_system(path)
            found = system.ls(inside, detail=True)
            return sorted((one["name"].rstrip("/").rpartition("/")[2], one["type"] == "directory") for one in found)
        with os.scandir(path) as entries:
            return sorted((entry.name, entry.is_dir()) for entry in entries)
