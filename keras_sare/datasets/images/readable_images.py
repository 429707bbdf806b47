"""Which images of a dataset can be read: corrupt ones are excluded, but not many."""

import logging
import math
import os

import numpy as np

from keras_sare.datasets.images.unreadable_files import unreadable_files

logger = logging.getLogger(__name__)

_LOGGED_FILES = 20


def readable_images(
    paths: np.ndarray,
    dataset: str,
    role: str,
    max_corrupt_share: float,
    advice: str = "Check the dataset's folder, or raise `max_corrupt_share`.",
    memory: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """Reads and decodes every file, and returns those that succeed.

    Each file that fails is logged as a warning with the reason, up to twenty, then their number.

    Args:
        paths: [N] files.
        dataset: its name, for messages.
        role: what the images are in it, for messages.
        max_corrupt_share: share of the files, in [0, 1], that may fail. More than that is taken for a wrong folder or
            an unfinished download.
        advice: what to do where too many fail, whole sentences for the message.
        memory: folder that remembers which files could be read; see `unreadable_files`.

    Returns:
        Indices of the files that can be read, int64, ascending.

    Raises:
        ValueError: more than `max_corrupt_share` fail, or all of them.
    """
    if not 0 <= max_corrupt_share <= 1:
        raise ValueError(f"`max_corrupt_share` must be in [0, 1]. Received: max_corrupt_share={max_corrupt_share}")
    corrupt = unreadable_files(paths, memory)
    for index, reason in list(corrupt.items())[:_LOGGED_FILES]:
        logger.warning("%s, %s: %s: %s", dataset, role, paths[index], reason)
    if corrupt:
        logger.warning("%s, %s: %d of %d images cannot be read", dataset, role, len(corrupt), len(paths))
    allowed = min(math.floor(max_corrupt_share * len(paths)), len(paths) - 1)
    if len(corrupt) > allowed:
        first, reason = next(iter(corrupt.items()))
        raise ValueError(
            f"{len(corrupt)} of the {len(paths)} `{role}` images of {dataset!r} cannot be read, at most {allowed} may "
            f"be left out. {advice} "
            f"Received: max_corrupt_share={max_corrupt_share}, first file {paths[first]}: {reason}"
        )
    return np.delete(np.arange(len(paths), dtype=np.int64), list(corrupt))
