"""SHA-256 of files and folders."""

import hashlib
from pathlib import Path


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
