"""Training and validation photos of 3D models, without a building in both."""

import logging
import os

import numpy as np

from keras_sare.datasets.images.image_folder import EXTENSIONS
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.utils.arguments import plain_arguments

logger = logging.getLogger(__name__)


@plain_arguments
def split_clusters(dataset: SfMDataset, share: float, seed: int = 0) -> tuple[SfMDataset, SfMDataset]:
    """Splits photos into training and validation by whole clusters.

    Clusters are taken for validation in random order as long as they do not exceed `share`; the smallest one is where
    none fits.

    Args:
        dataset: at least two clusters.
        share: of the photos for validation, between 0 and 1.
        seed: of the order.

    Returns:
        Training and validation photos, named "<name>_train" and "<name>_val".

    Raises:
        ValueError: `share` is not between 0 and 1, or there is only one cluster.
    """
    if not 0 < share < 1:
        raise ValueError(f"`share` must be between 0 and 1. Received: share={share}")
    clusters, sizes = np.unique(dataset.clusters, return_counts=True)
    if len(clusters) < 2:
        raise ValueError(
            "`dataset` must have at least two clusters, one to train on and one to validate on. "
            f"Received: {len(clusters)} clusters of {len(dataset.paths)} photos"
        )
    chosen = []
    left = share * len(dataset.paths)
    for i in np.random.default_rng(seed).permutation(len(clusters)):
        if sizes[i] <= left:
            chosen.append(clusters[i])
            left -= sizes[i]
    held_out = np.isin(dataset.clusters, chosen or [clusters[sizes.argmin()]])
    return (
        dataset.subset(np.flatnonzero(~held_out), f"{dataset.name}_train"),
        dataset.subset(np.flatnonzero(held_out), f"{dataset.name}_val"),
    )


@plain_arguments
def without_models_of(dataset: SfMDataset, images: np.ndarray) -> SfMDataset:
    """Excludes every 3D model that holds one of some images, and all of its cluster. How many is logged.

    Args:
        dataset: photos of 3D models.
        images: names of files. Folders and the suffixes .jpg, .jpeg and .png do not count: lists of test sets name
            images without them, and a photo may be a copy.

    Raises:
        ValueError: no photo has any of the names, or nothing remains.
    """
    # By Python's sets: numpy's fixed-width text would cut long names, and cut names may agree.
    named = {_stem(name) for name in images.tolist()}
    stems = [_stem(path) for path in dataset.paths.tolist()]
    held = np.array([stem in named for stem in stems], bool)
    if not held.any():
        raise ValueError(
            f"`images` must name photos of {dataset.name!r}: none of its {len(stems)} photos has one of the names, so "
            "nothing would be left out. Compare them with the file names of the photos. "
            f"Received: {len(images)} names, such as {', '.join(images[:3].tolist())}"
        )
    touched = np.unique(dataset.clusters[held])
    kept = np.flatnonzero(~np.isin(dataset.clusters, touched))
    if not len(kept):
        raise ValueError(
            f"`images` must leave a 3D model to train on: all {len(np.unique(dataset.clusters))} clusters hold one of "
            f"them. Received: {len(images)} images"
        )
    logger.info(
        "%s: %d of %d names match photos; excluded are %d photos of %d clusters",
        dataset.name,
        len(named.intersection(stems)),
        len(named),
        len(stems) - len(kept),
        len(touched),
    )
    return dataset.subset(kept)


def _stem(name: str) -> str:
    last = name.replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(last)
    return stem if suffix.lower() in EXTENSIONS else last
