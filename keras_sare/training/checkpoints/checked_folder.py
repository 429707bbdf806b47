"""A folder of arrays and figures that tells whether it is what was written."""

import json
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.utils.files import atomic_path

_MANIFEST = "checksums.json"

Arrays = Mapping[str, np.ndarray]


class Damaged(Exception):
    """A folder is not what was written."""


def write_checked(target: Path, arrays: Mapping[str, Arrays], content: Mapping[str, Any]) -> None:
    """Writes a folder that appears under its name when all of it is on the disk.

    Args:
        target: the folder; one that is there already is replaced.
        arrays: arrays by name, by name of their `.npz` file.
        content: what goes to `state.json`.

    Raises:
        OSError: the disk is full or cannot be written. There is nothing under the name then.
    """
    if target.exists():
        shutil.rmtree(target)
    with atomic_path(target) as folder:
        folder.mkdir()
        for name, group in arrays.items():
            np.savez(folder / f"{name}.npz", allow_pickle=False, **group)
        (folder / "state.json").write_text(json.dumps(content, indent=1) + "\n")
        checksums = {path.name: _checksum(path) for path in sorted(folder.iterdir())}
        (folder / _MANIFEST).write_text(json.dumps(checksums) + "\n")


def read_checked(folder: Path) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """Reads what `write_checked` wrote, after a look at every checksum.

    Returns:
        Arrays by name by name of their file, and the content.

    Raises:
        Damaged: a file is missing or is not what was written.
    """
    try:
        checksums = json.loads((folder / _MANIFEST).read_text())
        wrong = [name for name, checksum in checksums.items() if _checksum(folder / name) != checksum]
        if wrong:
            raise Damaged(f"wrong checksum of {', '.join(wrong)}")
        arrays = {}
        for path in folder.glob("*.npz"):
            with np.load(path) as group:
                arrays[path.stem] = dict(group)
        return arrays, json.loads((folder / "state.json").read_text())
    except (OSError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error


def _checksum(path: Path) -> int:
    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
