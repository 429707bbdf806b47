"""Memory of files that are mapped into it."""

import mmap

import numpy as np


def release_pages(array: np.ndarray) -> None:
    """Gives back the memory that a memory-mapped file takes in this process; the array stays as readable as before.

    What was read of a mapped file counts as the process's memory until the system wants it back: a container with a
    limit sees a search over a large file grow by the whole file. Arrays that are no mapped files, and copy-on-write
    maps (mode "c"), whose changes have no other place, are left alone.

    Args:
        array: any array; an `np.memmap` or a view of one is acted on.
    """
    owner, mode = _map_of(array)
    if owner is not None and mode in ("r", "r+", "w+"):
        owner.madvise(mmap.MADV_DONTNEED)


def read_ahead(array: np.ndarray, start: int, stop: int) -> None:
    """Lets the system read rows of a memory-mapped file in large pieces while others are worked on.

    Rows that are only touched are read in small pieces, and whoever touches them waits. What is read lies
    in the system's cache, not in this process's memory. Other arrays, and maps that are not C-ordered, are left alone.

    Args:
        array: [N, ...] any array; an `np.memmap`, whole or rows from its first on, is acted on.
        start: first row.
        stop: row behind the last; those beyond N do not count.
    """
    owner, _ = _map_of(array)
    stop = min(stop, len(array))
    if owner is None or start >= stop or not array.flags.c_contiguous:
        return
    first = array.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data + start * array.strides[0]
    first -= first % mmap.PAGESIZE
    owner.madvise(mmap.MADV_WILLNEED, first, min(len(owner) - first, (stop - start) * array.strides[0] + mmap.PAGESIZE))


def _map_of(array: np.ndarray) -> tuple[mmap.mmap | None, str | None]:
    """The map of the file that an array lies in, where the system can be advised on it, and its mode."""
    mode = getattr(array, "mode", None)
    owner = array.base
    while isinstance(owner, np.ndarray):
        mode = getattr(owner, "mode", mode)
        owner = owner.base
    return (owner, mode) if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise") else (None, mode)
