"""TensorFlow Serving's folder layout: `FOLDER/<integer version>/saved_model.pb`."""

import os
from pathlib import Path

MAX_VERSION = 2**63 - 1
"""Versions are int64 in requests."""


def version_folders(folder: str | os.PathLike[str]) -> dict[int, Path]:
    """Lists the versions in a model folder.

    Args:
        folder: folder whose subfolders named by an integer are versions. Everything else in it is ignored, and where
            there is no such folder there are no versions.

    Returns:
        Version number to version folder, in ascending order.
    """
    base = Path(folder)
    if not base.is_dir():
        return {}
    named = [path for path in base.iterdir() if path.name.isascii() and path.name.isdigit() and path.is_dir()]
    return {int(path.name): path for path in sorted(named, key=lambda path: int(path.name))}
