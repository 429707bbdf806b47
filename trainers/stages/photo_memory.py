"""Where a program remembers which photos of a dataset could be read."""

import hashlib
import logging
import os
from pathlib import Path

from keras_sare.utils.files import check_writable_folder

logger = logging.getLogger("keras_sare.checks")


def photo_memory(data: str | os.PathLike[str]) -> Path | None:
    """Folder in the user's cache, which all programs share: in `KERAS_SARE_CACHE`, by default `~/.cache/keras_sare`.

    A dataset's own folder may be read-only, or others', and a run's folder does not exist before its photos are
    checked.

    Args:
        data: the dataset's file or folder.

    Returns:
        The folder, which need not exist; None where it cannot be made.
    """
    place = str(Path(data).resolve())
    number = hashlib.blake2b(os.fsencode(place), digest_size=6).hexdigest()
    try:
        cache = Path(os.environ.get("KERAS_SARE_CACHE") or _users_cache() / "keras_sare")
        folder = cache / f"{Path(place).stem}-{number}"
        check_writable_folder(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home.
        logger.info("Photos that can be read are not remembered until the next start: %s", error)
        return None
    return folder


def _users_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
