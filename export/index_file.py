"""The index of a map: the descriptors of all database images, for `export/localise.py` to search on a device.

It is a `.npz` file of plain arrays:

    descriptors   float16 [n, dim], rows of norm 1
    names         text [n]: the place of each image, or its path below the dataset's folder where it has none
    positions     float64 [n, 2 or 3]; [n, 0] of a dataset that knows places only
    axes          text [2 or 3, or 0]: what the columns of `positions` are
    size          int64 [2]: height and width that images are resized to; or [1]: pixels of their longer side at most
    shorter       bool: whether `size` is of the shorter side instead
    orientation   text: "upright" or "stored", how images are read
    antialias     bool: whether images that shrink are antialiased
    model         text: SHA-256 of the TFLite file
"""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.localise import extract, open_model, read_photo
from export.reading import Reading
from export.source import Size
from keras_sare.datasets import ImageSet, open_databases
from keras_sare.datasets.checks.finding import log_findings
from keras_sare.datasets.images.pixel_limit import pixel_limit
from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.datasets.images.same_photos import photo_numbers, repeated_photos
from keras_sare.utils.digests import path_digest
from keras_sare.utils.error_text import one_line
from keras_sare.utils.files import atomic_path, check_writable_file
from keras_sare.utils.progress import progress

logger = logging.getLogger("keras_sare.export")

_METRES = {2: ("easting (m)", "northing (m)"), 3: ("x (m)", "y (m)", "z (m)")}
_DEGREES = ("latitude", "longitude")


def write_index(
    model: Path,
    reading: Reading,
    images: ImageSet,
    root: Path,
    output: Path,
    max_corrupt_share: float = 0.01,
) -> int:
    """Extracts the descriptors of images one by one, and writes the index.

    Images that cannot be read, or that the model gives no descriptor for, are logged and left out; photos that are
    listed twice are logged.

    Args:
        model: a TFLite file that `python -m export` wrote.
        reading: how images are read, here and on the device.
        images: the map, for example of `open_map`.
        root: folder that the names of images without a place start from.
        output: the index, a `.npz` file. It appears whole, or not at all.
        max_corrupt_share: share of the images, in [0, 1], that may be left out.

    Returns:
        Number of images in the index.

    Raises:
        FileNotFoundError: there is no such model.
        ImportError: ai-edge-litert is not installed; the message has the line to install it with.
        ValueError: `model` is no such file or takes another size, `output` is not called `.npz`, or more images than
            `max_corrupt_share` cannot be read or have no descriptor.
        OSError: `output` cannot be written.
    """
    if output.suffix != ".npz":
        raise ValueError(f"`output` must be a .npz file. Received: output={str(output)!r}")
    check_writable_file(output)
    interpreter = _open(model, reading.size)  # Before the images are checked, which takes longer.
    name = root.resolve().name
    most = math.floor(max_corrupt_share * len(images))
    listed = len(images)
    images = images.subset(readable_images(images.paths, name, "database", max_corrupt_share))
    log_findings(repeated_photos(name, images.paths, images.paths[:0], photo_numbers(images.paths)))
    how = reading.arguments()
    reading_here = {**how, "max_pixels": pixel_limit()}
    descriptors = _extract_all(interpreter, model, images, reading_here, most - (listed - len(images)))
    kept = np.flatnonzero(np.isfinite(descriptors[:, 0]))
    images = images.subset(kept)
    positions, axes = _positions(images)
    with atomic_path(output) as path:
        np.savez(
            path,
            descriptors=descriptors[kept],
            names=_names(images, root),
            positions=positions,
            axes=np.array(axes, np.str_),
            **how,
            model=path_digest(model),
        )
    return len(images)


def open_map(root: Path, prefix: str = "", splits: Sequence[str] | None = None) -> ImageSet:
    """Opens the database images of a folder, each once, and logs how many of which split they are.

    Args:
        root: see `keras_sare.datasets.open_databases`.
        prefix: the same.
        splits: to take the images of; all by default.

    Raises:
        FileNotFoundError: the folder holds no dataset.
        ValueError: it has no such split, or no database image.
    """
    databases = open_databases(root, prefix)
    chosen = list(databases) if splits is None else list(splits)
    if unknown := [split for split in chosen if split not in databases]:
        raise ValueError(
            f"`split` must be among those with database images, {', '.join(databases) or 'none'}. "
            f"Received: split={unknown[0]!r}, root={str(root)!r}"
        )
    if not chosen:
        raise ValueError(f"`root` must list at least one database image. Received: root={str(root)!r}")
    images = databases[chosen[0]]
    for split in chosen[1:]:
        images = images.followed_by(databases[split])
    first = np.unique([os.path.normpath(path) for path in images.paths.tolist()], return_index=True)[1]
    counts = ", ".join(f"{split} {len(databases[split])}" for split in chosen)
    logger.info("Database images: %d (%s; %d listed more than once)", len(first), counts, len(images) - len(first))
    return images.subset(np.sort(first))


def _extract_all(model: Any, path: Path, images: ImageSet, how: Mapping[str, Any], allowed: int) -> np.ndarray:
    """Descriptors of all images, NaN where one has none: it is logged with the reason. Of these, `allowed` at most."""
    descriptors = np.full((len(images), model.get_output_details()[0]["shape"][-1]), np.nan, np.float16)
    left_out = 0
    for row, image in enumerate(progress(images.paths, "Extracting descriptors", unit="image")):
        descriptor, reason = _extract(model, path, image, how)
        if descriptor is not None:
            descriptors[row] = descriptor
            continue
        logger.warning("%s is left out: %s", image, reason)
        left_out += 1
        if left_out > allowed:
            raise ValueError(
                f"{left_out} of the first {row + 1} images that can be read have no descriptor, at most {allowed} more "
                f"may be left out. Take another `image_size`, or raise `max_corrupt_share`. Received: {image}: {reason}"
            )
    return descriptors


def _extract(model: Any, path: Path, image: str, how: Mapping[str, Any]) -> tuple[np.ndarray | None, str]:
    """The descriptor of an image, or the reason why it has none."""
    try:
        descriptor = extract(model, read_photo(image, **how))
    except Exception as error:  # Whatever Pillow raises, or the interpreter where a photo is too small.
        return None, one_line(error)
    norm = np.linalg.norm(descriptor)
    if not norm > 0:
        return None, "the model gives no descriptor; it may be too small"
    if descriptor.ndim != 1 or not np.isclose(norm, 1, atol=1e-2):
        raise ValueError(
            "`model` must give one descriptor of norm 1 for each image: a file that python -m export wrote. "
            f"Received: model={str(path)!r}, which gives {descriptor.shape} of norm {norm:.4g} for {image}"
        )
    return descriptor, ""


def _open(path: Path, size: Size) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"`model` must name an existing TFLite file. Received: model={str(path)!r}")
    try:
        model = open_model(path)
    except ImportError as error:
        raise ImportError(f'{error.name} must be installed: pip install "keras-sare[export]"') from error
    except ValueError as error:
        raise ValueError(f"`model` must be a TFLite file: {error}. Received: model={str(path)!r}") from error
    taken = tuple(model.get_input_details()[0]["shape_signature"][1:3].tolist())
    if min(taken) > 0 and taken != size:
        raise ValueError(
            f"`image_size` must be {taken[0]},{taken[1]}, the only size that the model takes. "
            f"Received: image_size={size}, model={str(path)!r}"
        )
    return model


def _positions(images: ImageSet) -> tuple[np.ndarray, tuple[str, ...]]:
    """Positions as the dataset gives them, and what their columns are."""
    positions = images.given_positions
    if positions is None:
        return np.zeros((len(images), 0)), ()
    return positions, _METRES[positions.shape[1]] if images.coordinates is None else _DEGREES


def _names(images: ImageSet, root: Path) -> np.ndarray:
    places = [""] * len(images) if images.places is None else images.places
    # Fixed-width text: an array of Python strings would be pickled, which a device must not be asked to load.
    return np.array(
        [str(place) or os.path.relpath(path, root) for place, path in zip(places, images.paths, strict=True)], np.str_
    )
