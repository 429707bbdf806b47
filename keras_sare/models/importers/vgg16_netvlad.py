"""What the layouts of VGG16 with NetVLAD have in common that go back to NetVLAD's MATLAB code."""

import numpy as np


def from_channel_major(matrix: np.ndarray, clusters: int) -> np.ndarray:
    """Reorders the rows of a whitening matrix for this library's descriptors.

    Args:
        matrix: [clusters * channels, dim]; row k + clusters * d belongs to cluster k and channel d, as in MATLAB.
        clusters: number of clusters.

    Returns:
        Array of the same shape; row k * channels + d belongs to cluster k and channel d.
    """
    rows, dim = matrix.shape
    # Transposed first, because MATLAB's arrays have their first dimension fastest: so only one copy is made.
    return matrix.T.reshape(dim, rows // clusters, clusters).transpose(2, 1, 0).reshape(rows, dim)


def to_channel_major(matrix: np.ndarray, clusters: int) -> np.ndarray:
    """Undoes `from_channel_major`."""
    rows, dim = matrix.shape
    return matrix.reshape(clusters, rows // clusters, dim).transpose(1, 0, 2).reshape(rows, dim)
