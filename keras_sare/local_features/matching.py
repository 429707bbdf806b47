"""Which keypoints of two photos show the same point: by their descriptors alone."""

import numpy as np

from keras_sare.local_features.features import LocalFeatures

LEAST_SIMILARITY = 0.82
"""Cosine similarity of a match, as the authors' code has it."""


def match_mutual(one: LocalFeatures, other: LocalFeatures, least_similarity: float = LEAST_SIMILARITY) -> np.ndarray:
    """Matches keypoints that are each other's most similar ones, as XFeat's sparse mode does.

    Args:
        one: features of a photo.
        other: features of another.
        least_similarity: cosine similarity that matches exceed; any suffices where it is not positive.

    Returns:
        int64 [m, 2], the rows of a match in `one` and in `other`.
    """
    if not len(one) or not len(other):
        return np.zeros((0, 2), np.int64)
    similarities = one.descriptors @ other.descriptors.T
    best = similarities.argmax(axis=1)
    rows = np.arange(len(one))
    mutual = similarities.argmax(axis=0)[best] == rows
    if least_similarity > 0:
        mutual &= similarities[rows, best] > least_similarity
    return np.stack([rows[mutual], best[mutual]], axis=1)
