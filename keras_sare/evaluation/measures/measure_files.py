"""What was measured beside recall, with intervals: as JSON, and as a table."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_sare.evaluation.measures import bootstrap, numbers
from keras_sare.evaluation.measures.answers import Answers
from keras_sare.evaluation.measures.bootstrap import Statistic
from keras_sare.evaluation.measures.search_cost import SearchCost
from keras_sare.evaluation.report import RecallReport
from keras_sare.utils.files import atomic_path

_SHOWN = ("recall@1", "mAP@5", "mean error, m", "median error, m", "AUC-PR", "recall at 100 % precision")

EXPLANATION = (
    "95 % intervals by bootstrap over the queries in brackets. mAP@N: mean average precision among the first N. Error: "
    "metres between a query and its first match. AUC-PR: whether the score of the first match tells right answers from "
    "wrong ones, 1 where all right ones score higher. Recall at 100 % precision: share of the queries answered rightly "
    "above the score of the best wrong answer."
)


@dataclass(frozen=True)
class Measure:
    """A number of all queries, and its 95 % interval by bootstrap over the queries."""

    value: float
    low: float
    high: float


def measures_of(answers: Answers, report: RecallReport) -> dict[str, Measure]:
    """All numbers of one model by name; those of errors are missing where the dataset has no positions.

    Args:
        answers: of the model.
        report: its recall.
    """
    statistics: dict[str, Statistic] = {}
    for n in report.ns:
        statistics[f"recall@{n}"] = mean_of((answers.ranks < n).astype(np.float64))
    for n, values in zip(answers.map_ns, answers.average_precisions.T, strict=True):
        statistics[f"mAP@{n}"] = mean_of(values)
    statistics |= _of_errors(answers.errors) | _of_scores(answers)
    bounds = bootstrap.intervals(statistics, len(answers.ranks))
    all_once = np.ones(len(answers.ranks), np.int64)
    return {name: Measure(float(of(all_once)), *bounds[name]) for name, of in statistics.items()}


def write_measures(
    path: Path, answers: Mapping[str, Answers], reports: Mapping[str, RecallReport], costs: Mapping[str, SearchCost]
) -> str:
    """Writes all numbers of several models, `null` where one is not finite (a query without any match).

    Args:
        path: the JSON file, replaced as a whole: for each model `protocol`, `dataset`, `queries`, `search` (see
            `SearchCost`) and `measures`, each with `value`, `low` and `high`; and how the intervals were made.
        answers: by model.
        reports: by model.
        costs: of the search, by model.

    Returns:
        The most important ones as a table with its explanation, Markdown.
    """
    found = {model: measures_of(one, reports[model]) for model, one in answers.items()}
    made = {"level": bootstrap.LEVEL, "resamples": bootstrap.RESAMPLES, "seed": bootstrap.SEED}
    contents = {
        model: {
            "protocol": reports[model].protocol,
            "dataset": reports[model].dataset,
            "queries": reports[model].queries,
            "interval": made,
            "search": asdict(costs[model]) if model in costs else None,
            "measures": {name: finite_or_none(asdict(measure)) for name, measure in measures.items()},
        }
        for model, measures in found.items()
    }
    with atomic_path(path) as file:
        file.write_text(json.dumps(contents, indent=2, allow_nan=False) + "\n")
    return f"{_table(found)}\n\n{EXPLANATION}"


def _table(found: Mapping[str, Mapping[str, Measure]]) -> str:
    shown = [name for name in _SHOWN if all(name in measures for measures in found.values())]
    lines = [["model", *shown], ["---", *("---:" for _ in shown)]]
    lines += [[model, *(shown_measure(measures[name], name) for name in shown)] for model, measures in found.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def shown_measure(measure: Measure, name: str) -> str:
    """A number with its interval as text, metres with one digit behind the point, others with three."""
    form = ".1f" if name.endswith(", m") else ".3f"
    return f"{measure.value:{form}} ({measure.low:{form}} to {measure.high:{form}})"


def finite_or_none(values: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers as JSON takes them: None where one is not finite."""
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def mean_of(values: np.ndarray) -> Statistic:
    """The mean of values of the queries, float64 [Q], as a number to resample."""
    return lambda weights: numbers.weighted_mean(values, weights)


def _of_errors(errors: np.ndarray | None) -> dict[str, Statistic]:
    if errors is None:
        return {}
    return {
        "mean error, m": mean_of(errors),
        "median error, m": lambda weights: numbers.weighted_median(errors, weights),
    }


def _of_scores(answers: Answers) -> dict[str, Statistic]:
    scores = answers.scores
    hits = answers.hits
    answerable = answers.positives > 0
    return {
        "AUC-PR": lambda weights: numbers.precision_recall_area(scores, hits, weights),
        "recall at 100 % precision": lambda weights: numbers.recall_at_full_precision(
            scores, hits, answerable, weights
        ),
    }
