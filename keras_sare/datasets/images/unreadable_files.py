"""Which of many files cannot be read, remembered between starts."""

import os
from pathlib import Path

import numpy as np

from keras_sare.datasets.checks.file_facts import FileFacts
from keras_sare.datasets.images.pipeline import find_corrupt
from keras_sare.datasets.images.pixel_limit import pixel_limit

_MEMORY = ".readable_photos.npy"


def unreadable_files(paths: np.ndarray, memory: str | os.PathLike[str] | None = None) -> dict[int, str]:
    """Finds the files that cannot be read, as `find_corrupt` does, and remembers those that can.

    What could be read once is not decoded again until its size or its time changes; what could not is tried each time.
    A file that is not there is found without being opened.

    Args:
        paths: [N] files.
        memory: folder for the file that remembers, 8 bytes a photo; None remembers nothing.

    Returns:
        The reason for each file that fails, by its index in `paths`, ascending; see `why_unreadable`.
    """
    reasons: dict[str, str] = {}
    facts = FileFacts((), None if memory is None else Path(memory) / _MEMORY, f"{pixel_limit()} pixels")

    def decode(names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        is_there = np.array([os.path.lexists(name) for name in names.tolist()], bool)
        reasons.update((name, "missing") for name in names[~is_there].tolist())
        there = names[is_there]
        failed = find_corrupt(there) if len(there) else {}
        reasons.update((str(there[index]), reason) for index, reason in failed.items())
        return facts.none(len(names)), np.array([name not in reasons for name in names.tolist()], bool)

    paths = np.asarray(paths, np.dtypes.StringDType())
    facts.of(paths, decode)
    if not reasons:
        return {}
    return {index: reasons[name] for index, name in enumerate(paths.tolist()) if name in reasons}
