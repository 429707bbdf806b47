"""Opens images for training, with as much of the frozen layers' output stored as the disk takes."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets.images.pixels import ShorterSide
from keras_sare.distribution.workers import Workers
from keras_sare.extraction.bucketed_inputs import BucketedInputs
from keras_sare.extraction.cropped_inputs import crop_images
from keras_sare.extraction.inputs import ImageInputs, Inputs, Rows, StoredInputs
from keras_sare.models.resizing import antialiases
from keras_sare.training.feature_store.feature_store import FeatureStore
from keras_sare.training.feature_store.frozen_trunk import FrozenTrunk
from keras_sare.training.settings.training_settings import TrainingSettings
from keras_sare.training.stage_timer import StageTimer
from keras_sare.utils.files import free_bytes
from keras_sare.utils.progress import progress

logger = logging.getLogger(__name__)

FIRST = ("train", "val", "test")
"""Splits in the order in which they are stored: training reads its images in every epoch, the test comes once."""

KEPT_FREE = 2e9
"""Bytes of the disk that the store leaves for checkpoints, models and other programs, at least."""

Stores = Mapping[str, Sequence[FeatureStore]]
"""The stores of each split, one for each size of images."""


def open_feature_store(
    paths: Mapping[str, np.ndarray],
    trunk: keras.Model,
    size: tuple[int, int] | int,
    settings: TrainingSettings,
    folder: Path,
    store_limit: float,
    *,
    dtype: str = "float16",
    strategy: tf.distribute.Strategy | None = None,
    times: StageTimer | None = None,
    kept_free: float = KEPT_FREE,
) -> tuple[dict[str, Inputs], bool]:
    """Opens the images of some splits for training, with the frozen layers' output stored where that pays.

    The output of layers that are not trained is the same in every epoch: it is computed once per image and read back,
    by later runs too. Where it does not all fit, the rest is computed when asked for; the inputs of all splits are the
    output of `trunk` then as well. What is stored, and what that takes, is logged before it is computed.

    A run that is killed goes on with what is stored. Several workers share the work; `folder` must be one of them all.

    Args:
        paths: [N] image files by split; the id of an image is its index.
        trunk: the layers that are not trained. Nothing is stored where they have no weights, as preprocessing alone.
        size: (height, width) that images are resized to. Or one number, the limit of the longer side: images are then
            scaled down and cut as `cropped_size` says, none is distorted, and inputs are `BucketedInputs`.
        settings: of the run; among them the orientation that images are read in.
        folder: where the output goes. Runs may share it: what others stored for other settings or other images is left
            alone. Where an image was replaced, what was computed with it is computed anew.
        store_limit: bytes of disk for the output of these images; 0 turns the store off. What other runs left in
            `folder`, in folders `trunk-*`, is not counted: delete what is no longer needed.
        dtype: in which the output is stored: "float16", "bfloat16" or "float32".
        strategy: of the run.
        times: is told how long the output of the frozen layers took.
        kept_free: bytes of the disk that are left to checkpoints, models and other programs.

    Returns:
        The inputs by split, and whether they are the output of `trunk` instead of pixels.

    Raises:
        ValueError: an image whose output does not fit `dtype` (the message names it), an unknown dtype, or a `size` too
            small for any image.
        OSError: the disk got full, for example, or the workers do not share `folder`, or not the images.
    """
    order = sorted(paths, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    how = settings.orientation, antialiases(trunk)
    images = {name: _images(paths[name], size, *how) for name in order}
    parts: dict[str, list[tuple[np.ndarray, Rows]]] = {name: list(one) for name, one in images.items()}
    stored = store_limit > 0 and _can_be_stored(trunk)
    if stored:
        strategy = strategy or tf.distribute.get_strategy()
        frozen = FrozenTrunk(trunk, dtype, strategy)
        batch = settings.extraction_batch
        stores = {name: [FeatureStore(folder, frozen, part, batch) for _, part in one] for name, one in images.items()}
        workers = Workers(strategy)
        with (times or StageTimer()).measure("frozen_layers"):
            stored = _fill(stores, _plan(stores, folder, store_limit, kept_free, workers), workers)
    if stored:
        parts = {
            name: [(ids, store) for (ids, _), store in zip(one, stores[name], strict=True)]
            for name, one in images.items()
        }
    return {name: _inputs(parts[name], isinstance(size, int)) for name in paths}, stored


def _images(
    paths: np.ndarray, size: tuple[int, int] | int, orientation: str, antialias: bool
) -> Sequence[tuple[np.ndarray, ImageInputs]]:
    """Ids and images, by size."""
    if isinstance(size, ShorterSide):
        raise ValueError(
            f"`size` must be (height, width), or limit the longer side, in training. Received: size={size}"
        )
    if isinstance(size, int):
        return crop_images(paths, size, orientation, antialias)
    return [(np.arange(len(paths)), ImageInputs(paths, size, orientation, antialias))]


def _inputs(parts: Sequence[tuple[np.ndarray, Rows]], bucketed: bool) -> Inputs:
    if bucketed:
        return BucketedInputs(parts)
    [(_, rows)] = parts
    return rows if isinstance(rows, ImageInputs) else StoredInputs(rows)


def _can_be_stored(trunk: keras.Model) -> bool:
    if len(trunk.outputs) == 1 and trunk.weights:
        return True
    reason = "there are several" if trunk.weights else "they have no weights, and computing it again is as fast"
    logger.info("Output of the frozen layers: not stored: %s", reason)
    return False


def _plan(stores: Stores, folder: Path, store_limit: float, kept_free: float, workers: Workers) -> np.ndarray:
    """Which files are to be computed, the same for every worker.

    Returns:
        int64 [n] numbers of files, counted through all stores.
    """
    present = np.concatenate([store.files.present for store in _all(stores)])
    sizes = np.concatenate([store.files.sizes for store in _all(stores)])
    # Workers must not decide differently where one of them looked while another program was writing.
    seen = workers.all_gather(np.array([[free_bytes(folder), *present]], np.int64), workers.count)
    free = int(seen[:, 0].min())
    everywhere = seen[:, 1:].min(axis=0) > 0
    missing = np.flatnonzero(~everywhere)
    room = min(store_limit - sizes[everywhere].sum(), free - kept_free)
    chosen = missing[np.cumsum(sizes[missing]) <= room]
    _log_plan(stores, chosen, everywhere, (store_limit, free, kept_free))
    return chosen


def _log_plan(stores: Stores, chosen: np.ndarray, present: np.ndarray, bounds: tuple[float, float, float]) -> None:
    store_limit, free, kept_free = bounds
    sizes = np.concatenate([store.files.sizes for store in _all(stores)])
    rows = np.concatenate([[len(s.files.rows(i)) for i in range(len(s.files.sizes))] for s in _all(stores)])
    logger.info(
        "Output of the frozen layers: %.2f GB for %d images; allowed %.2f GB, free on the disk %.2f GB. "
        "There already: %.2f GB, %d images. To be computed: %.2f GB, %d images",
        sizes.sum() / 1e9,
        rows.sum(),
        store_limit / 1e9,
        free / 1e9,
        sizes[present].sum() / 1e9,
        rows[present].sum(),
        sizes[chosen].sum() / 1e9,
        rows[chosen].sum(),
    )
    if left_out := rows.sum() - rows[present].sum() - rows[chosen].sum():
        logger.warning(
            "The output of the frozen layers for %d of %d images does not fit what is allowed, %.2f GB, or the disk, "
            "%.2f GB free of which %.1f GB are kept free: it is computed again whenever it is needed, which is slow",
            left_out,
            rows.sum(),
            store_limit / 1e9,
            free / 1e9,
            kept_free / 1e9,
        )


def _fill(stores: Stores, chosen: np.ndarray, workers: Workers) -> bool:
    """Computes this worker's part of the chosen files and waits for the others.

    Returns:
        Whether anything is stored now.
    """
    own = chosen[workers.shard(len(chosen))]
    start = 0
    for name, of_split in stores.items():
        count = 0
        work = []
        for store in of_split:
            end = start + len(store.files.sizes)
            files = own[(own >= start) & (own < end)] - start
            count += sum(len(store.files.rows(file)) for file in files.tolist())
            work.append(store.fill(files))
            start = end
        if count:
            for _ in progress(itertools.chain(*work), f"frozen layers: {name}", count, "image", size=int):
                pass
    workers.barrier()
    present = np.concatenate([store.files.scan() for store in _all(stores)])
    if not present[chosen].all():
        raise FileNotFoundError(
            "`folder` must be one that all workers share, and the images must have the same paths, sizes and times of "
            "change on all of them, as on a shared file system: what others have stored is not there. "
            f"Received: folder={str(_all(stores)[0].files.folder.parent)!r}"
        )
    return bool(present.any())


def _all(stores: Stores) -> list[FeatureStore]:
    return [store for of_split in stores.values() for store in of_split]
