"""Pairs of matching photos, as whitening is learned from."""

import numpy as np

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.mining.sfm.positives import PositiveRule, possible_positives


def matching_pairs(dataset: SfMDataset) -> tuple[np.ndarray, np.ndarray]:
    """Lists pairs of photos that show the same: the published ones, or else all that m3 may choose.

    Args:
        dataset: with `pairs`, or with points and camera centres.

    Returns:
        Queries and positives, int64 [pairs] each.

    Raises:
        ValueError: the dataset lacks what m3 needs, or there are no pairs.
    """
    if dataset.pairs is not None:
        queries, positives = dataset.pairs.T
    else:
        possible = possible_positives(dataset, PositiveRule("m3"))
        queries = np.repeat(np.arange(len(dataset.paths)), possible.counts)
        positives = possible.indices
    if not len(queries):
        raise ValueError(
            "`dataset` must have photos that match. Take more photos of each place. "
            f"Received: {len(dataset.paths)} photos of {dataset.name!r} without a pair"
        )
    return queries, positives
