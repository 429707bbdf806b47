"""Validation of image retrieval."""

import numpy as np

from keras_sare.datasets.sfm_dataset import SfMDataset
from keras_sare.evaluation.mean_average_precision import DEFAULT_KS, average_precisions, mean_over_queries
from keras_sare.evaluation.retrieval_report import RetrievalReport
from keras_sare.mining.sfm_geometry import Observations
from keras_sare.training.describer import Describer
from keras_sare.training.sfm_photos import SfMPhotos
from keras_sare.training.validation import Validation
from keras_sare.training.workers import Workers


class MeanAveragePrecisionValidation(Validation[RetrievalReport]):
    """Mean average precision (mAP) of photos that look for those that show the same, among all photos.

    Right are the photos of the same 3D model that observe one of the query's points or, where the dataset has no
    points, those of its cluster. The others of its cluster count neither as right nor as wrong: they may show the
    building from behind. Photos for which none is right are no queries.

    Args:
        photos: usually the validation split.

    Raises:
        ValueError: no photo has another one to find.
    """

    images: SfMPhotos

    def __init__(self, photos: SfMPhotos) -> None:
        super().__init__(photos)
        right = _right(photos.dataset)
        self.queries = np.flatnonzero([len(found) for found in right])
        if not len(self.queries):
            raise ValueError(
                "`photos` must hold a photo of which another one shows the same: validation has nothing to find. Take "
                f"other 3D models for it. Received: {len(right)} photos of {photos.name!r}"
            )
        self.positives = [right[query] for query in self.queries.tolist()]
        related = {photo: group for group in _images_by(photos.dataset.clusters) for photo in group.tolist()}
        self.ignored = [np.setdiff1d(related[query], right[query]) for query in self.queries.tolist()]

    def measure(self, describer: Describer, workers: Workers) -> RetrievalReport:
        """MAP of a describer's model; see `Validation`."""
        images = len(self.images.paths)
        database = self.images.describe(describer, np.arange(images), f"{self.images.name} photos")
        measured = average_precisions(database[self.queries], database, self.positives, self.ignored)
        # The rounding of a perfect ranking may end above 1, as in the public code.
        means = np.minimum(mean_over_queries(np.column_stack(measured)), 1)
        mean_average_precision, *precisions = workers.of_chief(means).tolist()
        of_same = "of one model that share points" if self.images.dataset.points is not None else "of one cluster"
        return RetrievalReport(
            dataset=self.images.name,
            protocol=f"photos {of_same}",
            queries=len(self.queries),
            queries_without_positive=0,
            database=images,
            mean_average_precision=mean_average_precision,
            ks=DEFAULT_KS,
            precisions=tuple(precisions),
        )

    def is_better(self, report: RetrievalReport, best: str) -> bool:
        """Whether the mAP is higher."""
        return report.mean_average_precision > RetrievalReport.from_json(best).mean_average_precision

    def figures(self, report: RetrievalReport) -> dict[str, float]:
        """MAP, and the mean precision at each k."""
        precisions = {f"mP@{k}": value for k, value in zip(report.ks, report.precisions, strict=True)}
        return {"mAP": report.mean_average_precision, **precisions}


def _images_by(groups: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _right(dataset: SfMDataset) -> list[np.ndarray]:
    """For each photo those that are right."""
    right = [np.empty(0, np.int64)] * len(dataset)
    for photos in _images_by(dataset.models if dataset.points is not None else dataset.clusters):
        same = np.ones((len(photos), len(photos)), bool)
        if dataset.points is not None:
            seen = [dataset.points_of(photo) for photo in photos.tolist()]
            observations = Observations(np.array([len(points) for points in seen]), np.concatenate(seen))
            same = observations.shared_points(np.tile(np.arange(len(photos)), (len(photos), 1))) > 0
        np.fill_diagonal(same, False)
        for photo, others in zip(photos.tolist(), same, strict=True):
            right[photo] = photos[others]
    return right
