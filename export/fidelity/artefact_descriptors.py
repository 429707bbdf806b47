"""Descriptors of photos by an artefact, which sees them as its users' photos come to it."""

from collections.abc import Iterator

import numpy as np

from export.fidelity.runtime import Runtime
from export.formats import FORMATS
from export.localise import read_photo
from export.reading import Reading
from keras_sare.datasets import image_batches

Extracted = tuple[np.ndarray, np.ndarray]
"""Indices of photos, int64 [n], and their descriptors [n, dim]."""


def artefact_descriptors(
    runtime: Runtime, kind: str, paths: np.ndarray, reading: Reading | None, batch_size: int
) -> Iterator[Extracted]:
    """Extracts descriptors of photos: of their files, as a server's clients send them, or of the pixels that
    `export/localise.py` or training reads, whichever the format says.

    Args:
        runtime: of the artefact.
        kind: name of its format, one of `FORMATS`.
        paths: [N] image files.
        reading: how they are read; None where the artefact reads files itself.
        batch_size: images at a time, where it takes several.

    Raises:
        ValueError: `reading` is missing.
        RuntimeError: the extraction failed, for example because a file cannot be read.
    """
    if FORMATS[kind].photos == "files":
        return _by_files(runtime, paths, batch_size)
    if reading is None:
        raise ValueError(f"`reading` must say how photos are read for {kind}. Received: reading=None")
    if FORMATS[kind].photos == "pixels":
        return _by_pixels(runtime, paths, reading)
    return _by_batches(runtime, paths, reading, batch_size)


def _by_files(runtime: Runtime, paths: np.ndarray, batch_size: int) -> Iterator[Extracted]:
    for start in range(0, len(paths), batch_size):
        files = paths[start : start + batch_size].tolist()
        yield np.arange(start, start + len(files)), runtime.extract_files(files)


def _by_pixels(runtime: Runtime, paths: np.ndarray, reading: Reading) -> Iterator[Extracted]:
    for index, path in enumerate(paths.tolist()):
        yield np.array([index]), runtime.extract(read_photo(path, **reading.arguments()))


def _by_batches(runtime: Runtime, paths: np.ndarray, reading: Reading, batch_size: int) -> Iterator[Extracted]:
    batches = image_batches(paths, reading.size, batch_size, None, reading.orientation, reading.antialias)
    return ((indices.numpy(), runtime.extract(images.numpy())) for indices, images in batches)
