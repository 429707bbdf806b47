"""Which images of a dataset are the same photo: the same file, or files of the same bytes."""

import hashlib
import os
import zlib
from collections.abc import Callable

import numpy as np

from keras_sare.datasets.checks.finding import WARNING, Finding

_TAIL = 4096
"""Bytes at the end of a file: those of two photos of one size hardly ever agree, unless the photos do."""
_NAMED = 3


def photo_numbers(paths: np.ndarray) -> np.ndarray:
    """Numbers photos, such that equal numbers mean the same photo.

    Sizes are compared first. Of files of one size the ends are read, and whole files, piece by piece, only where those
    agree. What is missing, empty or cannot be read has only its name to be compared.

    Args:
        paths: [N] StringDType, files.

    Returns:
        int64 [N]: the index of the first path that holds the same photo.
    """
    names, number = np.unique(paths, return_inverse=True)
    listed = names.tolist()
    groups = np.array([_size(name, i) for i, name in enumerate(listed)], np.int64)
    for digest in (_digest_of_end, _digest_of_all):
        groups = _split(groups, listed, digest)
    _, first, number = np.unique(groups[number], return_index=True, return_inverse=True)
    return first[number]


def repeated_photos(name: str, database: np.ndarray, queries: np.ndarray, photos: np.ndarray) -> list[Finding]:
    """Finds the photos that are listed twice on a side, and the queries that are in the database.

    Args:
        name: of the dataset.
        database: [N] files.
        queries: [Q] files; may be empty.
        photos: [N + Q] `photo_numbers` of the database and then of the queries.
    """
    of_database, of_queries = np.split(photos, [len(database)])
    findings = _repeated(f"{name}, database", database, of_database)
    findings += _repeated(f"{name}, queries", queries, of_queries)
    shared = np.isin(of_queries, of_database)
    if shared.any():
        pairs = named_pairs(queries[shared], of_queries[shared], database, of_database)
        message = f"{shared.sum()} of {len(queries)} queries are in the database too, the same file or the same bytes, "
        message += f"where any model finds them ({pairs})"
        advice = "Take them out of one side, or read the recall without them"
        findings.append(Finding("query_in_database", WARNING, name, message, advice))
    return findings


def _repeated(where: str, paths: np.ndarray, photos: np.ndarray) -> list[Finding]:
    again = np.ones(len(paths), bool)
    again[np.unique(photos, return_index=True)[1]] = False
    if not again.any():
        return []
    pairs = named_pairs(paths[again], photos[again], paths[~again], photos[~again])
    message = f"{again.sum()} of {len(paths)} images repeat one that is listed before, the same file or the same bytes "
    return [Finding("duplicate", WARNING, where, f"{message}({pairs})", "Take one of each two off the list")]


def first_names(paths: np.ndarray) -> str:
    """The first few of some files, for a message."""
    return ", ".join(paths[:_NAMED].tolist()) + (", ..." if len(paths) > _NAMED else "")


def named_pairs(paths: np.ndarray, photos: np.ndarray, others: np.ndarray, photos_of_others: np.ndarray) -> str:
    """The first few of some images that repeat others, each with its original where that is another file."""
    originals = [others[np.flatnonzero(photos_of_others == photo)[0]] for photo in photos[:_NAMED]]
    pairs = zip(paths[:_NAMED], originals, strict=True)
    named = [one if one == original else f"{one} is {original}" for one, original in pairs]
    return ", ".join(named) + (", ..." if len(paths) > _NAMED else "")


def _split(groups: np.ndarray, names: list[str], digest: Callable[[str], int]) -> np.ndarray:
    """Splits groups of files by a digest, which is computed only where a group has several files."""
    _, groups, counts = np.unique(groups, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(counts[groups] > 1)
    digests = np.zeros(len(names), np.uint64)
    digests[shared] = [digest(names[index]) for index in shared.tolist()]
    order = np.lexsort((digests, groups))
    new = (np.diff(groups[order], prepend=-1) != 0) | (np.diff(digests[order], prepend=0) != 0)
    numbers = np.empty(len(names), np.int64)
    numbers[order] = np.cumsum(new)
    return numbers


def _size(name: str, index: int) -> int:
    """Bytes of a file; a number of its own, below 0, where there is none or nothing in it."""
    try:
        return os.stat(name).st_size or -1 - index
    except (OSError, ValueError):
        return -1 - index


def _digest_of_end(name: str) -> int:
    """A checksum: files that agree are compared whole afterwards, so that speed is all that matters here."""
    try:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            return zlib.crc32(os.pread(descriptor, _TAIL, max(0, size - _TAIL)))
        finally:
            os.close(descriptor)
    except OSError:
        return _of_name(name)


def _digest_of_all(name: str) -> int:
    try:
        with open(name, "rb") as file:
            return int.from_bytes(hashlib.file_digest(file, "blake2b").digest()[:8], "little")
    except OSError:
        return _of_name(name)


def _of_name(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "little")
