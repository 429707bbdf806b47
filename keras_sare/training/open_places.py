"""Opens the splits of a dataset for training, with as much of the frozen layers' output stored as the disk takes."""

import logging
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets import PlaceDataset
from keras_sare.training.inputs import Inputs, StoredInputs
from keras_sare.training.places import Places, image_inputs
from keras_sare.training.settings import TrainingSettings
from keras_sare.training.trunk_store import TrunkStore
from keras_sare.training.workers import Workers
from keras_sare.utils.files import free_bytes

logger = logging.getLogger(__name__)

FIRST = ("train", "val", "test")
"""Splits in the order in which they are stored: training reads its images in every epoch, the test comes once."""

KEPT_FREE = 2e9
"""Bytes of the disk that the store leaves for checkpoints, models and other programs."""


def open_places(
    datasets: Mapping[str, PlaceDataset],
    trunk: keras.Model,
    size: tuple[int, int],
    settings: TrainingSettings,
    folder: Path,
    store_limit: float,
    *,
    dtype: str = "float16",
    strategy: tf.distribute.Strategy | None = None,
) -> dict[str, Places]:
    """Opens the splits of a dataset for training, with the frozen layers' output stored where that pays.

    The output of layers that are not trained is the same in every epoch: it is computed once per image and read back,
    by later runs too. Where it does not all fit, the rest is computed when asked for; the inputs of all splits are the
    output of `trunk` then as well. What is stored, and what that takes, is logged before it is computed.

    A run that is killed goes on with what is stored. Several workers share the work; `folder` must be one of them all.

    Args:
        datasets: by split.
        trunk: the layers that are not trained. Nothing is stored where they have no weights, as preprocessing alone.
        size: (height, width) that images are resized to.
        settings: of the run.
        folder: where the output goes, and descriptors larger than memory. Runs may share it: what others stored for
            other settings or other images is left alone. Where an image was replaced, what was computed with it is
            computed anew.
        store_limit: bytes of disk for the output of these datasets; 0 turns the store off. What other runs left in
            `folder`, in folders `trunk-*`, is not counted: delete what is no longer needed.
        dtype: in which the output is stored: "float16", "bfloat16" or "float32".
        strategy: of the run.

    Returns:
        The places by split. Their `stored` says whether the inputs are the output of `trunk` instead of pixels; it is
        the same for all splits.

    Raises:
        ValueError: an image whose output does not fit `dtype`; the message names it.
        OSError: the disk got full, for example, or the workers do not share `folder`, or not the images.
    """
    images = {name: image_inputs(dataset, size) for name, dataset in datasets.items()}
    inputs: Mapping[str, Inputs] = images
    stored = store_limit > 0 and _can_be_stored(trunk)
    if stored:
        strategy = strategy or tf.distribute.get_strategy()
        order = sorted(images, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
        options = {"dtype": dtype, "strategy": strategy}
        stores = {name: TrunkStore(folder, trunk, images[name], settings.extraction_batch, **options) for name in order}
        workers = Workers(strategy)
        stored = _fill(stores, _plan(stores, folder, store_limit, workers), workers)
        inputs = {name: StoredInputs(store) for name, store in stores.items()} if stored else images
    return {name: Places(datasets[name], inputs[name], settings, folder / "spill", stored=stored) for name in datasets}


def _can_be_stored(trunk: keras.Model) -> bool:
    if len(trunk.outputs) == 1 and trunk.weights:
        return True
    reason = "there are several" if trunk.weights else "they have no weights, and computing it again is as fast"
    logger.info("Output of the frozen layers: not stored: %s", reason)
    return False


def _plan(stores: Mapping[str, TrunkStore], folder: Path, store_limit: float, workers: Workers) -> np.ndarray:
    """Which files are to be computed, the same for every worker.

    Returns:
        int64 [n] numbers of files, counted through all stores.
    """
    present = np.concatenate([store.files.present for store in stores.values()])
    sizes = np.concatenate([store.files.sizes for store in stores.values()])
    # Workers must not decide differently where one of them looked while another program was writing.
    seen = workers.gather(np.array([[free_bytes(folder), *present]], np.int64), workers.count)
    free, everywhere = int(seen[:, 0].min()), seen[:, 1:].min(axis=0) > 0
    missing = np.flatnonzero(~everywhere)
    room = min(store_limit - sizes[everywhere].sum(), free - KEPT_FREE)
    chosen = missing[np.cumsum(sizes[missing]) <= room]
    _log_plan(stores, chosen, everywhere, store_limit, free)
    return chosen


def _log_plan(
    stores: Mapping[str, TrunkStore], chosen: np.ndarray, present: np.ndarray, store_limit: float, free: float
) -> None:
    sizes = np.concatenate([store.files.sizes for store in stores.values()])
    rows = np.concatenate([[len(s.files.rows(i)) for i in range(len(s.files.sizes))] for s in stores.values()])
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
            "%.2f GB free of which %.0f GB are kept free: it is computed again whenever it is needed, which is slow",
            left_out,
            rows.sum(),
            store_limit / 1e9,
            free / 1e9,
            KEPT_FREE / 1e9,
        )


def _fill(stores: Mapping[str, TrunkStore], chosen: np.ndarray, workers: Workers) -> bool:
    """Computes this worker's part of the chosen files and waits for the others.

    Returns:
        Whether anything is stored now.
    """
    own = chosen[workers.share(len(chosen))]
    start = 0
    for name, store in stores.items():
        end = start + len(store.files.sizes)
        files = own[(own >= start) & (own < end)] - start
        store.fill(files, f"frozen layers: {name}")
        start = end
    workers.barrier()
    present = np.concatenate([store.files.scan() for store in stores.values()])
    if not present[chosen].all():
        raise FileNotFoundError(
            "`folder` must be one that all workers share, and the images must have the same paths, sizes and times of "
            "change on all of them, as on a shared file system: what others have stored is not there. "
            f"Received: folder={str(next(iter(stores.values())).files.folder.parent)!r}"
        )
    return bool(present.any())
