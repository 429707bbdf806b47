"""SHA-256 of files and folders, and of what a model is made of."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def content_digest(parts: Iterable[str | np.ndarray]) -> str:
    """SHA-256 of texts and arrays one after the other, of which no two need be in memory at once.

    Digests of weights are all made by it. What stands in front of the arrays is the caller's to say, since digests that
    were stored have to stay what they are.

    Args:
        parts: text counts by its UTF-8, an array by its elements in the order of C; its shape and dtype do not count.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:  # As bytes, because not every dtype lends its memory: bfloat16 does not.
            digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def path_digest(path: Path) -> str:
    """SHA-256 of a file; of a folder that of the lines `DIGEST  NAME` of its files, sorted by name.

    For a folder this is what `find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum` says in it.

    Raises:
        OSError: a file cannot be read.
    """
    if path.is_file():
        return _file_digest(path)
    lines = (f"{_file_digest(file)}  {file.relative_to(path).as_posix()}\n" for file in files_of(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def files_of(path: Path) -> list[Path]:
    """The files in a folder and its folders, sorted by name; a file itself."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(files, key=lambda file: file.relative_to(path).as_posix().encode())


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
