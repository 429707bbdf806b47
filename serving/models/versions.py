"""Which version of a model folder is served."""

import os
from pathlib import Path

from keras_sare.utils.version_folders import version_folders


def latest_version(folder: str | os.PathLike[str]) -> tuple[int, Path]:
    """Finds the highest version in a model folder.

    Args:
        folder: see `keras_sare.utils.version_folders.version_folders`.

    Returns:
        Version number and version folder.

    Raises:
        FileNotFoundError: `folder` is not a folder, or has no version in it.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f"`folder` must be an existing folder with one subfolder per model version, as in "
            f"MODEL/1/saved_model.pb. Received: folder={folder}"
        )
    versions = version_folders(folder)
    if not versions:
        raise FileNotFoundError(
            f"`folder` must hold at least one subfolder named by an integer version, as in MODEL/1/saved_model.pb; "
            f"pass the folder above the version. Received: folder={folder}"
        )
    version = max(versions)
    return version, versions[version]
