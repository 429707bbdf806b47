"""Validation of place recognition."""

from dataclasses import replace

import numpy as np

from keras_sare.distribution.workers import Workers
from keras_sare.evaluation import RecallReport, better, evaluate
from keras_sare.evaluation.recall import first_ranks, remaining
from keras_sare.extraction.extractor import Extractor
from keras_sare.training.data.places import Places
from keras_sare.training.validation.validation import Validation

LOGGED = (1, 5, 10)
"""The N of recall@N that are logged, where the database is large enough."""


class RecallValidation(Validation[RecallReport]):
    """Recall@N: the share of the queries that find a database image nearby among the first N.

    `settings.select_by` of the places says at which N epochs are compared, `settings.negative_radius` what is nearby.

    Args:
        places: usually the validation split.
    """

    images: Places

    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self.positives = places.dataset.positives(places.settings.negative_radius)
        self.exclude = places.dataset.own_timestamps()

    def measure(self, extractor: Extractor, workers: Workers) -> RecallReport:
        """Recall of a extractor's model; see `Validation`."""
        report = self.report(*self.images.extract_all(extractor))
        return replace(report, recalls=tuple(workers.broadcast(np.array(report.recalls)).tolist()))

    def report(self, queries: np.ndarray, database: np.ndarray) -> RecallReport:
        """Recall of descriptors `[Q, D]` and `[N, D]` of the images, as this worker finds it."""
        return self._evaluate(queries, database)[0]

    def report_and_ranks(self, queries: np.ndarray, database: np.ndarray) -> tuple[RecallReport, np.ndarray]:
        """Recall, and 1 / rank of the first right image of each query.

        Args:
            queries: float32 [Q, D].
            database: float32 [N, D].

        Returns:
            The report and the reciprocal ranks, float64 [Q]; 0 where the first 100 hold no right image.
        """
        report, predictions = self._evaluate(queries, database)
        ranks = first_ranks(predictions, remaining(self.positives, self.exclude))
        return report, np.where(ranks < report.ns[-1], 1.0 / (ranks + 1), 0.0)

    def is_better(self, report: RecallReport, best: str) -> bool:
        """Compares as NetVLAD's training does; see `keras_sare.evaluation.better`."""
        return better(report, RecallReport.from_json(best), self.images.settings.select_by)

    def figures(self, report: RecallReport) -> dict[str, float]:
        """Recall@1, @5 and @10, and the mean reciprocal rank."""
        recalls = {f"recall@{n}": report.at(n) for n in LOGGED if n in report.ns}
        return {**recalls, "mean_reciprocal_rank": report.mean_reciprocal_rank}

    def _evaluate(self, queries: np.ndarray, database: np.ndarray) -> tuple[RecallReport, np.ndarray]:
        """The report, and int64 [Q, k] what was found for each query."""
        protocol = self.images.dataset.protocol(self.images.settings.negative_radius)
        return evaluate(
            queries, database, self.positives, protocol=protocol, dataset=self.images.name, exclude=self.exclude
        )
