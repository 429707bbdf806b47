"""What can be known before hours are spent is checked before: each finding is one line."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from keras_sare.datasets import PlaceDataset
from keras_sare.training import TrainingSettings
from keras_sare.utils.files import free_bytes, same_disk
from keras_sare.whitening import DimensionError, largest_dimension

logger = logging.getLogger("keras_sare.checks")

OTHER_FILES = 50e6
"""Bytes for logs, tables and pictures."""


def distinct_images(dataset: PlaceDataset, sample: np.ndarray) -> int:
    """Number of database images that differ; files are compared byte by byte, see `PlaceDataset.photos`.

    Args:
        dataset: whose database they are in.
        sample: int64, which of them are looked at.
    """
    return len(np.unique(dataset.photos[sample]))


def check_whitening(images: int, distinct: int, dim: int) -> None:
    """Checks that the images that whitening will be fitted on can give so many dimensions.

    Args:
        images: number of them.
        distinct: how many differ.
        dim: wanted.

    Raises:
        ValueError: they cannot.
    """
    if dim > (largest := largest_dimension(distinct, features=dim)):
        same = "" if distinct == images else f", {distinct} of them distinct"
        raise ValueError(
            f"`dim` must be at most {largest} for {images} training images{same}: whitening needs more "
            f"images than dimensions. Received: dim={dim}"
        )


@contextmanager
def late_dimension() -> Iterator[None]:
    """Tells how a trained run goes on where images turn out to be too much alike for the whitening."""
    try:
        yield
    except DimensionError as error:
        raise ValueError(
            f"{error}. The training is done and kept: the same command with --resume --dim={error.largest} goes on."
        ) from error


def disk_needed(model: keras.Model, settings: TrainingSettings, dim: int) -> float:
    """Bytes that a run's folder grows to: models, checkpoints, logs.

    Args:
        model: with its frozen layers marked.
        settings: of the run.
        dim: after whitening.
    """
    weights = 4.0 * model.count_params()
    trained = 4.0 * sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    whitening = 4.0 * (model.output.shape[-1] + 1) * dim
    slots = 2 if settings.optimizer == "adam" else 1
    # The last few, the kept epoch's, and the one that is being written.
    checkpoints = (settings.keep_checkpoints + 2) * (1 + slots) * trained
    # Off the shelf, without whitening and with it, and one of them while it is being replaced.
    return 3 * weights + 2 * (weights + whitening) + checkpoints + OTHER_FILES


def spilled(splits: Iterable[Sequence[int]], width: int, settings: TrainingSettings) -> float:
    """Bytes of the descriptors that are kept in files, because they do not fit `memory_limit`, at a time.

    Args:
        splits: of each the numbers of images that are described together.
        width: of a descriptor.
        settings: of the run.
    """
    sizes = [[4.0 * count * width for count in counts] for counts in splits]
    return max(sum(size for size in of_split if size > settings.memory_limit) for of_split in sizes)


def check_room(folder: Path, needed: float, descriptors: float, store: Path) -> None:
    """Checks that what a run writes will fit on the disk, beside the store, which takes what is left.

    Args:
        folder: of the run. The models and checkpoints that it holds already are taken off.
        needed: bytes, as of `disk_needed`.
        descriptors: bytes, as of `spilled`.
        store: folder of the descriptors.

    Raises:
        OSError: it will not.
    """
    there = sum(path.stat().st_size for path in (*folder.glob("*.keras"), *folder.glob("checkpoints/*/*")))
    wanted = {folder: max(0.0, needed - there), store: descriptors}
    for one in wanted:
        together = sum(size for other, size in wanted.items() if same_disk(one, other))
        if together > (free := free_bytes(one)):
            raise OSError(
                f"The disk of {str(one)!r} must have {together / 1e9:.2f} GB free for models, checkpoints and "
                f"descriptors, and has {free / 1e9:.2f} GB. Make room, or name another folder."
            )
