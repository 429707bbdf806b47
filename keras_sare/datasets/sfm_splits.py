"""Training and validation photos of 3D models, without a building in both."""

import numpy as np

from keras_sare.datasets.sfm_dataset import SfMDataset


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
    chosen, left = [], share * len(dataset.paths)
    for i in np.random.default_rng(seed).permutation(len(clusters)):
        if sizes[i] <= left:
            chosen.append(clusters[i])
            left -= sizes[i]
    held_out = np.isin(dataset.clusters, chosen or [clusters[sizes.argmin()]])
    return (
        dataset.subset(np.flatnonzero(~held_out), f"{dataset.name}_train"),
        dataset.subset(np.flatnonzero(held_out), f"{dataset.name}_val"),
    )


def without_models_of(dataset: SfMDataset, images: np.ndarray) -> SfMDataset:
    """Leaves out every 3D model, and all of its cluster, that holds one of some images.

    Args:
        dataset: photos of 3D models.
        images: names of files without folders.

    Raises:
        ValueError: nothing remains.
    """
    # By Python's set: numpy's fixed-width text would cut long names, and cut names may agree.
    named = set(images.tolist())
    held = np.array([path.rpartition("/")[2] in named for path in dataset.paths.tolist()], bool)
    touched = np.unique(dataset.clusters[held])
    kept = np.flatnonzero(~np.isin(dataset.clusters, touched))
    if not len(kept):
        raise ValueError(
            f"`images` must leave a 3D model to train on: all {len(np.unique(dataset.clusters))} clusters hold one of "
            f"them. Received: {len(images)} images"
        )
    return dataset.subset(kept)
