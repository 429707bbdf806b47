"""Which photos are meant: files, folders, patterns, and lists of them."""

import glob
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
"""Of the files that are taken from folders and patterns: what servers decode."""


def find_photos(inputs: Sequence[str], lists: Sequence[str] = ()) -> Iterator[str]:
    """Finds photos; of folders and patterns the names are held of one at a time.

    Args:
        inputs: files, taken whatever their suffix; folders, with the folders in them; and patterns such as
            `photos/**/*.jpg`. Of folders and patterns the files with one of `SUFFIXES` are taken, but no hidden ones.
        lists: text files with a path a line, relative to the current folder. The files need not exist.

    Yields:
        Paths, those of a folder or pattern sorted.

    Raises:
        FileNotFoundError: one of the inputs is not there, or a list.
        ValueError: a folder or pattern holds no photo.
    """
    for one in inputs:
        if os.path.isdir(one):
            yield from _some(one, _in_folder(one, set()))
        elif os.path.lexists(one):
            yield one
        elif glob.has_magic(one):
            yield from _some(one, _matching(one))
        else:
            raise FileNotFoundError(f"`photos` must be files, folders or patterns that are there. Received: {one!r}")
    for name in lists:
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            yield from (line for line in map(_without_break, file) if line)


class PhotoNames:
    """The paths of the photos of a run, in a nameless file: to be gone through any number of times, one at a time.

    To be used in a `with` block, at whose end the file is gone.

    Args:
        paths: of the photos; they are all asked for at once.

    Attributes:
        digest: SHA-256 of the paths.
        longest: characters of the longest path.

    Raises:
        ValueError: there is none, or one has a line break in it.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._file = _temporary_file()
        self._number = 0
        self.longest = 0
        try:
            self.digest = self._store(paths)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "PhotoNames":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[str]:
        self._file.seek(0)
        return map(_without_break, self._file)

    def _store(self, paths: Iterable[str]) -> str:
        digest = hashlib.sha256()
        for path in paths:
            if "\n" in path or "\r" in path:
                raise ValueError(
                    f"`photos` must have no line breaks in their names, as lists of them have one a line; rename this "
                    f"one. Received: {path!r}"
                )
            line = f"{path}\n"
            self._file.write(line)
            digest.update(os.fsencode(line))
            self._number += 1
            self.longest = max(self.longest, len(path))
        if not self._number:
            raise ValueError("`photos` must name at least one photo. Received: none")
        return digest.hexdigest()


def _temporary_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="\n")


def _some(name: str, paths: Iterator[str]) -> Iterator[str]:
    first = next(paths, None)
    if first is None:
        raise ValueError(f"`photos` must hold {', '.join(SUFFIXES)} files. Received: {name!r}, which holds none")
    yield first
    yield from paths


def _in_folder(folder: str, above: set[tuple[int, int]]) -> Iterator[str]:
    """The photos of a folder and those in it; a link to a folder above it is not followed."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    for name, is_folder in found:
        if is_folder:
            yield from _in_folder(os.path.join(folder, name), above | {here})
        elif name.lower().endswith(SUFFIXES):
            yield os.path.join(folder, name)


def _matching(pattern: str) -> Iterator[str]:
    for path in sorted(glob.iglob(pattern, recursive=True)):
        if path.lower().endswith(SUFFIXES) and not os.path.isdir(path):
            yield path


def _without_break(line: str) -> str:
    return line.rstrip("\r\n")
