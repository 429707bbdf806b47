"""The photos in a folder, and what else lies there that its owner may take for photos."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_sare.datasets.checks.finding import ERROR, WARNING, Finding
from keras_sare.datasets.images.same_photos import first_names

_PHOTOS = (".jpg", ".jpeg", ".png", ".webp")
_OTHERS = {
    "Convert them to JPEG": (".heic", ".heif", ".avif", ".jxl", ".tif", ".tiff", ".bmp", ".dng", ".cr2", ".cr3")
    + (".nef", ".arw", ".raf", ".orf", ".rw2"),
    "Sample photos of them, for example with ffmpeg": (".mp4", ".mov", ".avi", ".mkv", ".insv", ".360"),
}
PICTURE = "places.png"
"""The map that an import leaves in a folder is no photo."""


def find_photos(root: str | os.PathLike[str]) -> tuple[np.ndarray, list[Finding]]:
    """Lists the photos under a folder; nothing is opened. What is hidden is left out.

    Args:
        root: the folder.

    Returns:
        Names relative to the folder, with slashes, sorted: StringDType [N]. And what cannot be listed, or read.
    """
    closed: list[str] = []
    files = sorted(_files(Path(root), closed))
    photos = [name for name in files if name.lower().endswith(_PHOTOS) and name != PICTURE]
    listable = [name for name in photos if _can_be_listed(name)]
    findings = [*_unlistable(root, photos, len(listable)), *_other_formats(root, files)]
    if closed:
        message = f"{len(closed)} folders cannot be opened ({first_names(np.array(closed))})"
        findings.append(Finding("folders", WARNING, str(root), message, "Allow to read them"))
    if not photos:
        message = f"no photo ({', '.join(_PHOTOS)}) in this folder or below"
        findings.append(Finding("no_photos", ERROR, str(root), message, "Name the folder that holds them by --root"))
    return np.array(listable, np.dtypes.StringDType()), findings


def _files(root: Path, closed: list[str]) -> Iterator[str]:
    """Names of all files; folders that cannot be opened are added to `closed`."""
    seen = set()

    def note(error: OSError) -> None:
        closed.append(os.fspath(error.filename).encode("utf-8", "backslashreplace").decode())

    for where, folders, names in os.walk(root, onerror=note, followlinks=True):
        known = os.stat(where)
        if (known.st_dev, known.st_ino) in seen:  # A link that leads back.
            folders.clear()
            continue
        seen.add((known.st_dev, known.st_ino))
        folders[:] = [folder for folder in folders if not folder.startswith((".", "@eaDir"))]
        below = os.path.relpath(where, root)
        for name in names:
            if not name.startswith("."):
                yield name if below == "." else os.path.join(below, name).replace(os.sep, "/")


def _can_be_listed(name: str) -> bool:
    """Whether a list in UTF-8 can hold a name, whose readers strip cells and take backslashes for slashes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name == name.strip() and "\\" not in name and "\n" not in name and "\r" not in name and name[1:3] != ":/"


def _unlistable(root: str | os.PathLike[str], photos: list[str], listable: int) -> Iterator[Finding]:
    if listable < len(photos):
        wrong = [name for name in photos if not _can_be_listed(name)]
        shown = np.array([name.encode("utf-8", "backslashreplace").decode() for name in wrong])
        message = f"{len(wrong)} photos have names that a list cannot hold ({first_names(shown)})"
        advice = "Rename them without backslashes, line breaks, spaces at the ends and letters that are not UTF-8"
        yield Finding("names", WARNING, str(root), message, advice)


def _other_formats(root: str | os.PathLike[str], files: list[str]) -> Iterator[Finding]:
    for advice, endings in _OTHERS.items():
        found = [name for name in files if name.lower().endswith(endings)]
        if found:
            kinds = Counter(os.path.splitext(name)[1].lower() for name in found)
            counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            example = first_names(np.array([found[0].encode("utf-8", "backslashreplace").decode()]))
            message = f"{counted} are not read ({example})"
            yield Finding("format", WARNING, str(root), message, advice)
