"""What decoding a photo says of it, remembered between starts."""

import hashlib
import logging
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from keras_sare.datasets.images.orientation import picture_orientation
from keras_sare.datasets.images.pipeline import find_corrupt
from keras_sare.utils.files import atomic_path
from keras_sare.utils.progress import progress

logger = logging.getLogger(__name__)

SIDE = 16
"""Pixels of a thumbnail's side."""
_REASON = 80
_THREADS = 8
_FILES_PER_TASK = 16
_FILES_AT_A_TIME = 8192
_RECORD = np.dtype(
    [
        ("file", np.uint64),
        ("reason", f"U{_REASON}"),
        ("height", np.int32),
        ("width", np.int32),
        ("orientation", np.int8),
        ("hash", np.uint64),
        ("thumbnail", np.uint8, (SIDE, SIDE)),
    ]
)


def photo_records(paths: np.ndarray, memory: str | os.PathLike[str] | None = None) -> np.ndarray:
    """Decodes photos, each once: what is remembered of a file holds until its size or its time changes.

    Args:
        paths: [N] files.
        memory: file that remembers; it is read, and written anew after every few thousand files, so that a break loses
            little. None remembers nothing.

    Returns:
        Structured array [N]: `reason` why the file cannot be read, empty where it can; `height`, `width` as stored;
        EXIF `orientation`; `hash`, 64 bits that are alike for photos that look alike (the signs of differences of
        neighbouring pixels, dHash); `thumbnail`, 16 x 16 of grey.
    """
    names, number = np.unique(paths, return_inverse=True)
    files = np.array([_file_number(name) for name in names.tolist()], np.uint64)
    known = _remembered(memory)
    unknown = np.flatnonzero(~np.isin(files, known["file"]))
    for start in range(0, len(unknown), _FILES_AT_A_TIME):
        chosen = unknown[start : start + _FILES_AT_A_TIME]
        known = np.concatenate([known, _decoded(names[chosen], files[chosen])])
        _remember(memory, known)
    order = np.argsort(known["file"])
    found = order[np.searchsorted(known["file"], files, sorter=order)]
    return np.asarray(known[found][number])


def _file_number(name: str) -> int:
    """A number for a file as it is now: another one when its size or time changes."""
    try:
        known = os.stat(name)
        text = f"{os.path.abspath(name)}\0{known.st_size}\0{known.st_mtime_ns}"
    except (OSError, ValueError):
        text = os.path.abspath(name.replace("\0", " "))
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "little")


def _remembered(memory: str | os.PathLike[str] | None) -> np.ndarray:
    nothing = np.zeros(0, _RECORD)
    if memory is None or not Path(memory).exists():
        return nothing
    try:
        known = np.load(memory, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("%s cannot be read (%s): all photos are decoded again", memory, error)
        return nothing
    return known if isinstance(known, np.ndarray) and known.dtype == _RECORD else nothing


def _remember(memory: str | os.PathLike[str] | None, known: np.ndarray) -> None:
    if memory is None:
        return
    # What is missing may come.
    with atomic_path(memory) as path, path.open("wb") as file:
        np.save(file, known[known["reason"] != "missing"], allow_pickle=False)


def _decoded(names: np.ndarray, files: np.ndarray) -> np.ndarray:
    records = np.zeros(len(names), _RECORD)
    records["file"] = files
    for failed, reason in find_corrupt(names).items():
        records["reason"][failed] = reason[:_REASON]
    readable = np.flatnonzero(records["reason"] == "")
    looked = progress(_looks(names[readable]), "Comparing images", len(readable), "image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large files, which `find_corrupt` has bounded.
        for index, look in zip(readable, looked, strict=True):
            for name, value in look.items():
                records[name][index] = value
    return records


def _looks(names: np.ndarray) -> Iterator[dict[str, object]]:
    with closing(ThreadPool(_THREADS)) as pool:
        yield from pool.imap(_look, map(str, names), _FILES_PER_TASK)


def _look(name: str) -> dict[str, object]:
    """Size, orientation and a small picture; nothing where Pillow refuses what TensorFlow reads."""
    try:
        with Image.open(name, formats=("JPEG", "PNG", "GIF", "WEBP")) as picture:
            width, height = picture.size
            orientation = picture_orientation(picture)
            picture.draft("L", (8 * SIDE, 8 * SIDE))
            grey = picture.convert("L")
    except Exception:  # noqa: BLE001  # Pillow raises what it likes.
        return {}
    pixels = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = np.packbits(np.diff(pixels, axis=1) > 0)
    thumbnail = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    return {
        "height": height,
        "width": width,
        "orientation": orientation,
        "hash": int.from_bytes(bits.tobytes(), "big"),
        "thumbnail": thumbnail,
    }
