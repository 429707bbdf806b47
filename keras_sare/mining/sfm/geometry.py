"""What the cameras and the points of one 3D model say about pairs of its images: no descriptors are needed."""

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

# Numbers of a block of rows of the table image x image, which is never built as a whole.
_BLOCK = 1 << 22


def nearest_centres(centres: np.ndarray, count: int) -> np.ndarray:
    """Finds for each camera those that stand nearest to it.

    Args:
        centres: float64 [n, 3] camera centres of one model, at least two.
        count: of neighbours.

    Returns:
        int64 [n, min(count, n - 1)] the other cameras, nearest first, equally near ones by number. Which of several
        that are as near as the last one are left out is up to the search tree.
    """
    images = len(centres)
    distances, found = cKDTree(centres).query(centres, k=range(1, min(count + 1, images) + 1))
    # Of cameras at one place any may come first. Where they are more than were asked for, a camera may even not be
    # among its own neighbours: then the farthest found is the one too many.
    distances[found == np.arange(images)[:, None]] = np.inf
    order = np.lexsort((found, distances), axis=1)[:, :-1]
    return np.take_along_axis(found, order, 1).astype(np.int64)


class Observations:
    """Which points the n images of one 3D model observe.

    Images are numbered within the model, 0 to n - 1. Memory grows with the observations, never with n x n.

    Args:
        counts: int64 [n] points observed by each image.
        points: int64 [M] their ids, image after image, each at most once in an image. Time and memory grow with the
            range of the ids too, so those of a model should lie close together.
    """

    def __init__(self, counts: np.ndarray, points: np.ndarray) -> None:
        self.counts = counts
        first, last = (int(points.min()), int(points.max())) if len(points) else (0, 0)
        starts = np.append(0, np.cumsum(counts))
        self._seen = csr_array(
            (np.ones(len(points), np.int32), points - first, starts), shape=(len(counts), last - first + 1)
        )

    def shared_points(self, neighbours: np.ndarray) -> np.ndarray:
        """Counts the points that an image and each of its neighbours both observe.

        Args:
            neighbours: int64 [n, K] images.

        Returns:
            int32 [n, K].
        """
        shared = np.empty(neighbours.shape, np.int32)
        # By way of the points: only images that do observe a point of the query cost anything.
        observers = self._seen.T.tocsr()
        step = max(1, _BLOCK // len(neighbours))
        for start in range(0, len(neighbours), step):
            counts = (self._seen[start : start + step] @ observers).toarray()
            shared[start : start + step] = np.take_along_axis(counts, neighbours[start : start + step], 1)
        return shared

    def scale_changes(self, scales: np.ndarray, images: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How many times larger or smaller other images see the points that they share with an image.

        Args:
            scales: [M] pixels per unit length at which each point of `points` is seen.
            images: int64 [P] images, ascending.
            others: int64 [P] images, each of which shares a point with its partner.

        Returns:
            float64 [P], at least 1: the median r, over the shared points, of other scale / scale; 1 / r where r < 1.
        """
        starts = self._seen.indptr
        points = self._seen.indices
        own_scales = np.full(self._seen.shape[1], np.nan)
        medians = np.empty(len(images))
        for image in np.unique(images).tolist():
            own = slice(starts[image], starts[image + 1])
            own_scales[points[own]] = scales[own]
            for pair in range(*np.searchsorted(images, [image, image + 1])):
                other = slice(starts[others[pair]], starts[others[pair] + 1])
                ratios = scales[other] / own_scales[points[other]]
                medians[pair] = np.median(ratios[~np.isnan(ratios)])
            own_scales[points[own]] = np.nan
        return np.maximum(medians, 1 / medians)
