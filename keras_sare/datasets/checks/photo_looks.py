"""What photos look like at a small size, remembered between starts."""

import os
import warnings
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from keras_sare.datasets.checks.file_facts import FileFacts
from keras_sare.datasets.images.orientation import picture_orientation
from keras_sare.utils.progress import progress

SIDE = 16
"""Pixels of a thumbnail's side."""
_MEMORY = ".doctor.npy"
_THREADS = 8
_FILES_PER_TASK = 16
_FIELDS = (
    ("height", np.int32),
    ("width", np.int32),
    ("orientation", np.int8),
    ("hash", np.uint64),
    ("thumbnail", np.uint8, (SIDE, SIDE)),
)


def photo_looks(paths: np.ndarray, readable: np.ndarray, memory: str | os.PathLike[str] | None = None) -> np.ndarray:
    """Looks at photos, each once: what is remembered of a file holds until its size or its time changes.

    Args:
        paths: [N] files.
        readable: bool [N], those that `unreadable_files` does not name: only they are looked at.
        memory: folder for the file that remembers, 0.3 KB a photo; None remembers nothing.

    Returns:
        Structured array [N]: `height`, `width` as stored, 0 where not looked at or where Pillow refuses what TensorFlow
        reads; EXIF `orientation`; `hash`, 64 bits that are alike for photos that look alike (the signs of differences
        of neighbouring pixels, dHash); `thumbnail`, 16 x 16 of grey.
    """
    facts = FileFacts(_FIELDS, None if memory is None else Path(memory) / _MEMORY)

    def look(names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        looks = facts.none(len(names))
        seen = progress(_looks(names), "Comparing images", len(names), "image")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large files, whose size was checked before.
            for index, found in enumerate(seen):
                for name, value in found.items():
                    looks[name][index] = value
        return looks, looks["height"] > 0

    looks = facts.none(len(paths))
    looks[readable] = facts.of(paths[readable], look)
    return looks


def _looks(names: np.ndarray) -> Iterator[dict[str, object]]:
    with closing(ThreadPool(_THREADS)) as pool:
        yield from pool.imap(_look, map(str, names), _FILES_PER_TASK)


def _look(name: str) -> dict[str, object]:
    """Size, orientation and a small picture; nothing where Pillow refuses what TensorFlow reads."""
    try:
        with Image.open(name, formats=("JPEG", "PNG", "GIF", "WEBP")) as picture:
            width, height = picture.size
            orientation = picture_orientation(picture)
            picture.draft("L", (24 * SIDE, 24 * SIDE))
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
