"""Facts of files, remembered until the files change."""

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_sare.utils.files import atomic_path

logger = logging.getLogger(__name__)

_FILES_AT_A_TIME = 32768


@dataclass(frozen=True)
class FileFacts:
    """Finds out facts of files, each once: a fact holds until the file's size or its time changes.

    Args:
        fields: names, types and shapes of what is found out of a file, as of a structured array.
        memory: `.npy` file that remembers; it may be deleted at any time. None remembers nothing.
        told_apart_by: what the facts depend on beside the file; those of another text are not taken.
    """

    fields: tuple[tuple[str, type] | tuple[str, type, tuple[int, ...]], ...]
    memory: Path | None
    told_apart_by: str = ""

    def of(self, paths: np.ndarray, find_out: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Recalls the facts of files, and finds out those that are not known.

        What was found out is written after every few ten thousand files, so that a break loses little.

        Args:
            paths: [N] files.
            find_out: takes [K] files, and returns their facts, an array like `none`, and whether each is to be
                remembered, bool [K].

        Returns:
            Structured array [N] with the fields and the number of the `file`.
        """
        names, rows = np.unique(paths, return_inverse=True)
        files = np.array([_file_number(name, self.told_apart_by) for name in names.tolist()], np.uint64)
        known = self._recalled()
        unknown = np.flatnonzero(~np.isin(files, known["file"]))
        passing = []
        for start in range(0, len(unknown), _FILES_AT_A_TIME):
            chosen = unknown[start : start + _FILES_AT_A_TIME]
            told, lasting = find_out(names[chosen])
            told["file"] = files[chosen]
            known = np.concatenate([known, told[lasting]])
            passing.append(told[~lasting])
            self._remember(known)
        known = np.concatenate([known, *passing])
        order = np.argsort(known["file"])
        found = order[np.searchsorted(known["file"], files, sorter=order)]
        return np.asarray(known[found][rows])

    def none(self, count: int) -> np.ndarray:
        """Facts of so many files, all zero."""
        return np.zeros(count, [("file", np.uint64), *self.fields])

    def _recalled(self) -> np.ndarray:
        nothing = self.none(0)
        if self.memory is None or not self.memory.exists():
            return nothing
        try:
            known = np.load(self.memory, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            logger.warning("%s cannot be read (%s): all photos are decoded again", self.memory, error)
            return nothing
        return known if isinstance(known, np.ndarray) and known.dtype == nothing.dtype else nothing

    def _remember(self, known: np.ndarray) -> None:
        if self.memory is None:
            return
        with atomic_path(self.memory) as path, path.open("wb") as file:
            np.save(file, known, allow_pickle=False)


def _file_number(name: str, told_apart_by: str) -> int:
    """A number for a file as it is now: another one when its size or time changes."""
    path = os.path.abspath(name)
    try:
        known = os.stat(name)
        text = f"{path}\0{known.st_size}\0{known.st_mtime_ns}\0{told_apart_by}"
    except (OSError, ValueError):
        text = path
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "little")
