"""What models reach under one rule on one dataset, gathered model by model."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_sare.datasets import PlaceDataset
from keras_sare.evaluation.measures.answers import Answers
from keras_sare.evaluation.measures.ranking import rank
from keras_sare.evaluation.measures.search_cost import SearchCost, search_cost
from keras_sare.evaluation.recall import DEFAULT_NS, first_ranks, measured_ns, recall_report, remaining
from keras_sare.evaluation.report import RecallReport


@dataclass
class Measured:
    """A rule on a dataset, and what it gave by model.

    Attributes:
        title: what is measured, for reports.
        stem: name of its files without suffix.
        positives: of each query.
        exclude: for each query the database images that are neither found nor right; None excludes nothing.
        groups: int64 [N], of whose images only the best is counted; None counts all.
        reports: by model.
        answers: by model.
        costs: of the search, by model; none of a part of the queries.
    """

    title: str
    stem: str
    positives: Sequence[np.ndarray]
    exclude: Sequence[np.ndarray] | None = None
    groups: np.ndarray | None = None
    reports: dict[str, RecallReport] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    costs: dict[str, SearchCost] = field(default_factory=dict)

    def measure(self, model: str, descriptors: tuple[np.ndarray, np.ndarray], dataset: PlaceDataset) -> None:
        """Keeps what one model answers.

        Args:
            model: its name.
            descriptors: of the queries, [Q, D], and of the database, [N, D].
            dataset: of both.
        """
        ns = measured_ns(DEFAULT_NS, len(dataset.database))
        left = remaining(self.positives, self.exclude)
        with search_cost(*descriptors) as cost:
            ranking = rank(*descriptors, ns[-1], self.exclude, self.groups)
        names = {"protocol": self.title, "dataset": dataset.name}
        self.reports[model] = recall_report(ranking, left, len(dataset.database), ns, **names)
        self.costs[model] = cost
        self.answers[model] = Answers.of(dataset, ranking, left, first_ranks(ranking.indices, left))

    def part(self, name: str, stem: str, queries: np.ndarray) -> "Measured":
        """The same of some queries alone.

        Args:
            name: of these queries, such as "night".
            stem: name of its files without suffix.
            queries: int64, indices of at least one.
        """
        title = f"{self.title}, {name} queries"
        answers = {model: one.of_queries(queries) for model, one in self.answers.items()}
        reports = {
            model: dataclasses.replace(
                report,
                protocol=title,
                queries=len(queries),
                queries_without_positive=int((answers[model].positives == 0).sum()),
                recalls=tuple((answers[model].ranks[:, None] < np.array(report.ns)).mean(axis=0).tolist()),
            )
            for model, report in self.reports.items()
        }
        return Measured(title, stem, [self.positives[q] for q in queries], reports=reports, answers=answers)
