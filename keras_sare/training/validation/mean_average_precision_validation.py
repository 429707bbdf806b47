"""Validation of image retrieval."""

import numpy as np

from keras_sare.distribution.workers import Workers
from keras_sare.evaluation.mean_average_precision import DEFAULT_KS, average_precisions, mean_over_queries
from keras_sare.evaluation.retrieval_report import RetrievalReport
from keras_sare.extraction.extractor import Extractor
from keras_sare.mining.sfm.co_observation import co_observers, images_by
from keras_sare.training.data.sfm_photos import SfMPhotos
from keras_sare.training.validation.validation import Validation

_BLOCK_BYTES = 1 << 28
# Of one image of a query's cluster while the query is measured: labels and ranks, several times over.
_LABEL_BYTES = 64


class MeanAveragePrecisionValidation(Validation[RetrievalReport]):
    """Mean average precision (mAP) of photos that look for those that show the same, among all photos.

    Right are the photos of the same 3D model that observe one of the query's points or, where the dataset has no
    points, those of its cluster. The others of its cluster count neither as right nor as wrong: they may show the
    building from behind. Photos for which none is right are no queries.

    Args:
        photos: usually the validation split.

    Attributes:
        queries: int64 [Q] photos for which another one is right.

    Raises:
        ValueError: no photo has another one to find.
    """

    images: SfMPhotos

    def __init__(self, photos: SfMPhotos) -> None:
        super().__init__(photos)
        dataset = photos.dataset
        self._clusters = images_by(dataset.clusters)
        self._cluster_of = np.unique(dataset.clusters, return_inverse=True)[1]
        self._sharing = None if dataset.points is None else co_observers(dataset)
        of_cluster = np.bincount(self._cluster_of)[self._cluster_of] - 1
        self.queries = np.flatnonzero(of_cluster if self._sharing is None else self._sharing.counts)
        if not len(self.queries):
            raise ValueError(
                "`photos` must hold a photo of which another one shows the same: validation has nothing to find. Take "
                f"other 3D models for it. Received: {len(dataset)} photos of {photos.name!r}"
            )

    def relevant(self, queries: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What some photos ask for.

        Args:
            queries: int64 [n] photos.

        Returns:
            The photos that are right for each, and those that count neither as right nor as wrong: int64, ascending.
        """
        clusters = [self._clusters[number] for number in self._cluster_of[queries].tolist()]
        if self._sharing is not None:
            right = [self._sharing[query] for query in queries.tolist()]
        else:
            right = [photos[photos != query] for query, photos in zip(queries.tolist(), clusters, strict=True)]
        neither = [np.setdiff1d(photos, mine, True) for photos, mine in zip(clusters, right, strict=True)]
        return right, neither

    def measure(self, extractor: Extractor, workers: Workers) -> RetrievalReport:
        """MAP of a extractor's model; see `Validation`."""
        database = self.images.extract(extractor, np.arange(len(self.images.paths)), f"{self.images.name} photos")
        return self.report(workers.broadcast(self.measure_queries(database)))

    def report(self, measured: np.ndarray) -> RetrievalReport:
        """Sums up the queries.

        Args:
            measured: float64 [Q, 1 + K], as of `measure_queries`.
        """
        # The rounding of a perfect ranking may end above 1, as in the public code.
        mean_average_precision, *precisions = np.minimum(mean_over_queries(measured), 1).tolist()
        of_same = "of one model that share points" if self.images.dataset.points is not None else "of one cluster"
        return RetrievalReport(
            dataset=self.images.name,
            protocol=f"photos {of_same}",
            queries=len(self.queries),
            queries_without_positive=0,
            database=len(self.images.paths),
            mean_average_precision=mean_average_precision,
            ks=DEFAULT_KS,
            precisions=tuple(precisions),
        )

    def measure_queries(self, database: np.ndarray) -> np.ndarray:
        """Measures each query.

        Args:
            database: float32 [n, dim], descriptors of all photos.

        Returns:
            float64 [Q, 1 + K]: average precision, and precision at each k of `DEFAULT_KS`.
        """
        # Labels of all queries would grow with the square of the largest cluster.
        of_query = 4 * database.shape[1] + _LABEL_BYTES * max(map(len, self._clusters))
        step = max(1, int(min(self.images.settings.memory_limit, _BLOCK_BYTES) // of_query))
        blocks = [self.queries[start : start + step] for start in range(0, len(self.queries), step)]
        measured = [average_precisions(database[block], database, *self.relevant(block)) for block in blocks]
        return np.concatenate([np.column_stack(both) for both in measured])

    def is_better(self, report: RetrievalReport, best: str) -> bool:
        """Whether the mAP is higher."""
        return report.mean_average_precision > RetrievalReport.from_json(best).mean_average_precision

    def figures(self, report: RetrievalReport) -> dict[str, float]:
        """MAP, and the mean precision at each k."""
        precisions = {f"mP@{k}": value for k, value in zip(report.ks, report.precisions, strict=True)}
        return {"mAP": report.mean_average_precision, **precisions}
