"""Files here, by their path, and elsewhere, by an address that fsspec opens: memory://, s3://, gs://, https:// ..."""

import glob
import os
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAGIC = re.compile(r"[*?\[]")
_MOST_FILES = 1_000_000


class FileTooLargeError(ValueError):
    """A file has more bytes than are read."""


def is_address(text: str) -> bool:
    """Whether a text is an address for fsspec, rather than a path."""
    return "://" in text


def joined(folder: str, name: str) -> str:
    """A name that a list gives, as seen from the list's folder; a whole path or address stays as it is."""
    return name if is_address(name) or os.path.isabs(name) else f"{folder}/{name}" if folder else name


def file_system(address: str) -> tuple[Any, str]:
    """Opens what an address names: fsspec's file system, and the path in it.

    Raises:
        ImportError: fsspec, or what this kind of address needs beside it, is not installed.
        ValueError: there is no such kind of address.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ImportError('Addresses need fsspec: pip install "keras-sare[extract]"') from error
    if "::" in address:
        raise ValueError(f"Addresses must name a file itself, without `::`. Received: {address[:200]!r}")
    system, path = url_to_fs(address)
    return system, path


def open_file(name: str) -> Any:
    """Opens a file for reading, anywhere in it.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    if not is_address(name):
        return open(name, "rb")
    system, path = file_system(name)
    return system.open(path, "rb")


def file_size(name: str) -> int:
    """Bytes of a file; see `open_file` for what is raised."""
    if not is_address(name):
        return os.path.getsize(name)
    system, path = file_system(name)
    return int(system.size(path))


def is_folder(name: str) -> bool:
    """Whether there is a folder of that name."""
    if not is_address(name):
        return os.path.isdir(name)
    system, path = file_system(name)
    return bool(system.isdir(path))


def is_file(name: str) -> bool:
    """Whether there is a file of that name."""
    if not is_address(name):
        return os.path.isfile(name)
    system, path = file_system(name)
    return bool(system.isfile(path))


def read_range(name: str, most: int, offset: int = 0, size: int | None = None) -> bytes:
    """Reads a file, or a part of it.

    Args:
        name: path or address.
        most: bytes that are read at most.
        offset: of the first.
        size: number of bytes; None for all from `offset` on.

    Raises:
        FileTooLargeError: there are more; none is read.
        OSError: there is no such file, or it cannot be read.
    """
    if is_address(name):
        return _read_address(name, most, offset, size)
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size - offset if size is None else size
        _check_size(size, most)
        file.seek(offset)
        return file.read(size)


def _read_address(name: str, most: int, offset: int, size: int | None) -> bytes:
    system, path = file_system(name)
    if size is None:
        known = system.info(path).get("size")
        if known is None:  # A server that does not tell.
            with system.open(path, "rb") as file:
                contents = bytes(file.read(most + 1))
            _check_size(len(contents), most)
            return contents
        size = int(known) - offset
    _check_size(size, most)
    return bytes(system.cat_file(path, start=offset, end=offset + size))


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise FileTooLargeError(f"too large: {size} bytes, at most {most} are read (max_file_mb)")


def expanded(pattern: str) -> list[str]:
    """The files that a text names: itself, or those of a pattern with {0..9}, {a,b}, *, ? and [..], in order.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are more than a million.
    """
    names: list[str] = []
    for text in _without_braces(pattern):
        names += sorted(_found(text)) if _MAGIC.search(text) else [text]
    missing = [name for name in names if not is_file(name)] if len(names) == 1 else []
    if not names or missing:
        raise FileNotFoundError(f"`photos` must name what there is. Received: {pattern!r}, which does not exist")
    return names


def _found(pattern: str) -> list[str]:
    if not is_address(pattern):
        return glob.glob(pattern)
    system, path = file_system(pattern)
    return [str(system.unstrip_protocol(one)) for one in system.glob(path)]


def _without_braces(pattern: str) -> Iterator[str]:
    texts = _BRACES.split(pattern)
    choices = [_choices(text) if number % 2 else [text] for number, text in enumerate(texts)]
    total = 1
    for one in choices:
        total *= len(one)
    if total > _MOST_FILES:
        raise ValueError(f"`photos` must name at most {_MOST_FILES} files. Received: {pattern!r}, which names {total}")
    return ("".join(parts) for parts in product(*choices))


def _choices(text: str) -> list[str]:
    numbers = _RANGE.fullmatch(text)
    if numbers is None:
        return text.split(",")
    first = int(numbers[1])
    last = int(numbers[2])
    if last - first >= _MOST_FILES:
        raise ValueError(f"`photos` must name at most {_MOST_FILES} files. Received: {{{text}}}")
    return [f"{number:0{len(numbers[1])}d}" for number in range(first, last + 1)]
