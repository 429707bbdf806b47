"""Which images of a dataset are the same photo: the same file, or files of the same bytes."""

import hashlib
import logging
import os
from collections.abc import Callable

import numpy as np

logger = logging.getLogger(__name__)

_TAIL = 4096
"""Bytes at the end of a file: those of two photos of one size hardly ever agree, unless the photos do."""
_NAMED = 3


def photo_numbers(paths: np.ndarray) -> np.ndarray:
    """Numbers photos, such that equal numbers mean the same photo.

    Sizes are compared first. Of files of one size the ends are read, and whole files, piece by piece, only where those
    agree. What is missing or cannot be read has only its name to be compared.

    Args:
        paths: [N] StringDType, files.

    Returns:
        int64 [N]: the index of the first path that holds the same photo.
    """
    names, number = np.unique(paths, return_inverse=True)
    groups = np.array([_size(str(name), i) for i, name in enumerate(names)], np.int64)
    for digest in (_digest_of_end, _digest_of_all):
        groups = _split(groups, names, digest)
    _, first, number = np.unique(groups[number], return_index=True, return_inverse=True)
    return first[number]


def warn_of_same_photos(name: str, database: np.ndarray, queries: np.ndarray, photos: np.ndarray) -> None:
    """Logs as warnings which photos are listed twice on a side, and which queries are in the database.

    Args:
        name: of the dataset.
        database: [N] files.
        queries: [Q] files; may be empty.
        photos: [N + Q] `photo_numbers` of the database and then of the queries.
    """
    of_database, of_queries = np.split(photos, [len(database)])
    for role, paths, numbers in (("database", database, of_database), ("queries", queries, of_queries)):
        _, first = np.unique(numbers, return_index=True)
        again = np.delete(np.arange(len(paths)), first)
        if len(again):
            logger.warning(
                "%s, %s: %d of %d images repeat one that is listed before (the same file or the same bytes): %s",
                name,
                role,
                len(again),
                len(paths),
                first_names(paths[again]),
            )
    own = np.flatnonzero(np.isin(of_queries, of_database))
    if len(own):
        logger.warning(
            "%s: %d of %d queries are in the database too (the same file or the same bytes), where any model finds "
            "them: take them out of one side, or read the recall without them. They are %s",
            name,
            len(own),
            len(queries),
            first_names(queries[own]),
        )


def first_names(paths: np.ndarray) -> str:
    """The first few of some files, for a message."""
    return ", ".join(paths[:_NAMED].tolist()) + (", ..." if len(paths) > _NAMED else "")


def _split(groups: np.ndarray, names: np.ndarray, digest: Callable[[str], int]) -> np.ndarray:
    """Splits groups of files by a digest, which is computed only where a group has several files."""
    _, groups, counts = np.unique(groups, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(counts[groups] > 1)
    digests = np.zeros(len(names), np.uint64)
    digests[shared] = [digest(str(name)) for name in names[shared]]
    return np.unique(np.stack([groups.astype(np.uint64), digests], axis=1), axis=0, return_inverse=True)[1].ravel()


def _size(name: str, index: int) -> int:
    """Bytes of a file; a number of its own, below 0, where there is none."""
    try:
        return os.stat(name).st_size
    except OSError:
        return -1 - index


def _digest_of_end(name: str) -> int:
    return _digest(name, -_TAIL)


def _digest_of_all(name: str) -> int:
    return _digest(name, 0)


def _digest(name: str, start: int) -> int:
    """Digest of a file from `start` on, counted from its end where below 0."""
    try:
        with open(name, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size + start) if start else 0)
            made = hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        made = hashlib.blake2b(os.fsencode(name)).digest()
    return int.from_bytes(made[:8], "little")
