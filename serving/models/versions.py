"""The versions in a model folder, and which of them are to be served."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keras_sare.utils.version_folders import MAX_VERSION, version_folders
from serving.models.manifest import manifest_path

Fingerprint = tuple[tuple[str, int, int], ...]
"""Name, bytes and time of change (ns) of files."""


@dataclass(frozen=True)
class Policy:
    """Which versions of a model are served.

    Attributes:
        most: how many, the highest first; None for all of them.
        only: the versions that may be served; None for any.
    """

    most: int | None = 1
    only: frozenset[int] | None = None

    def wanted(self, versions: Iterable[int]) -> list[int]:
        """Those of some versions that may be served, highest first: the first `most` of them that can be loaded."""
        return sorted((v for v in versions if self.only is None or v in self.only), reverse=True)


LATEST = Policy()
"""The highest version alone."""


def find_versions(folder: str | os.PathLike[str]) -> tuple[dict[int, Path], list[Path]]:
    """Finds the versions in a model folder.

    Args:
        folder: see `keras_sare.utils.version_folders.version_folders`.

    Returns:
        Version number to version folder, and the folders whose numbers no request can name: beyond int64.

    Raises:
        FileNotFoundError: `folder` is not a folder.
        OSError: it cannot be read.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f"`folder` must be an existing folder with one subfolder per model version, as in "
            f"MODEL/1/saved_model.pb. Received: folder={folder}"
        )
    found = version_folders(folder)
    possible = {version: path for version, path in found.items() if version <= MAX_VERSION}
    return possible, [path for version, path in found.items() if version > MAX_VERSION]


def fingerprint(folder: Path) -> Fingerprint:
    """What tells whether a version folder is still being written: its files and its manifest, without their contents.

    Args:
        folder: of the version.

    Raises:
        OSError: the folder cannot be read, or a file vanished meanwhile.
    """
    manifest = manifest_path(folder)
    paths = [manifest] if manifest.exists() else []
    for parent, _, files in os.walk(folder, onerror=_raise, followlinks=True):
        paths += [Path(parent, file) for file in files]
    found = [(os.fspath(path), path.stat()) for path in paths]
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in found))


def _raise(error: OSError) -> None:
    raise error
