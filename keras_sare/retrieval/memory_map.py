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
    mode = getattr(array, "mode", None)
    owner = array.base
    while isinstance(owner, np.ndarray):
        mode = getattr(owner, "mode", mode)
        owner = owner.base
    if isinstance(owner, mmap.mmap) and mode in ("r", "r+", "w+") and hasattr(owner, "madvise"):
        owner.madvise(mmap.MADV_DONTNEED)
