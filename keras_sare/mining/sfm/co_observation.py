"""Which images of a 3D model see the same points."""

import numpy as np
from scipy.sparse import csr_array

from keras_sare.datasets.places.spatial import Neighbours
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset

# Numbers of a block of rows of the table image x image, which is never built as a whole.
_BLOCK = 1 << 22


def images_by(groups: np.ndarray) -> list[np.ndarray]:
    """Sorts images by their group, such as their 3D model.

    Args:
        groups: [N] group of each image.

    Returns:
        For each group, ascending, its images: int64, ascending.
    """
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def co_observers(dataset: SfMDataset) -> Neighbours:
    """Finds for each image the other ones of its model that observe a point that it observes.

    Each model is looked at by itself and in blocks: memory grows with its observations and with what is found, never
    with the square of its images.

    Args:
        dataset: N images with points.

    Returns:
        `Neighbours` with a row for each of the N images, images ascending in each.

    Raises:
        ValueError: the dataset has no points.
    """
    others = [np.zeros(0, np.int64)] * len(dataset)
    for images in images_by(dataset.models):
        observed = [dataset.points_of(image) for image in images.tolist()]
        starts = np.cumsum([0, *map(len, observed)])
        distinct, points = np.unique(np.concatenate(observed), return_inverse=True)
        seen = csr_array((np.ones(len(points), np.int32), points, starts), shape=(len(images), len(distinct)))
        # By way of the points: only images that do observe a point of the query cost anything.
        observers = seen.T.tocsr()
        step = max(1, _BLOCK // len(images))
        for start in range(0, len(images), step):
            block = images[start : start + step]
            shared = seen[start : start + step] @ observers
            shared.sort_indices()
            found = np.split(images[shared.indices], shared.indptr[1:-1])
            for image, mine in zip(block.tolist(), found, strict=True):
                others[image] = mine[mine != image]
    counts = np.array([0, *map(len, others)], np.int64)
    return Neighbours(np.cumsum(counts), np.concatenate([np.zeros(0, np.int64), *others]))
