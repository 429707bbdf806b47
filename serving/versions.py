"""TensorFlow Serving's folder layout: `FOLDER/<integer version>/saved_model.pb`."""

import os
from pathlib import Path


def find_versions(folder: str | os.PathLike[str]) -> dict[int, Path]:
    """Lists the versions in a model folder.

    Args:
        folder: folder whose subfolders named by an integer are versions. Everything else in it is ignored.

    Returns:
        Version number to version folder, in ascending order.

    Raises:
        FileNotFoundError: `folder` is not a folder.
    """
    base = Path(folder)
    if not base.is_dir():
        raise FileNotFoundError(
            f"`folder` must be an existing folder with one subfolder per model version, as in "
            f"MODEL/1/saved_model.pb. Received: folder={base}"
        )
    children = [child for child in base.iterdir() if child.is_dir() and child.name.isascii() and child.name.isdigit()]
    return {int(child.name): child for child in sorted(children, key=lambda child: int(child.name))}


def latest_version(folder: str | os.PathLike[str]) -> tuple[int, Path]:
    """Finds the highest version in a model folder.

    Args:
        folder: see `find_versions`.

    Returns:
        Version number and version folder.

    Raises:
        FileNotFoundError: `folder` is not a folder, or has no version in it.
    """
    versions = find_versions(folder)
    if not versions:
        raise FileNotFoundError(
            f"`folder` must hold at least one subfolder named by an integer version, as in MODEL/1/saved_model.pb; "
            f"pass the folder above the version. Received: folder={folder}"
        )
    version = max(versions)
    return version, versions[version]
