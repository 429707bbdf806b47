"""What an evaluation of image retrieval measured: to keep, to compare, to print."""

import dataclasses
from collections.abc import Mapping, Sequence

from keras_sare.evaluation.json_report import JsonReport
from keras_sare.utils.arguments import plain_arguments

Reports = Mapping[str, Mapping[str, "RetrievalReport"]]
"""By name of the method, then by protocol."""


@dataclasses.dataclass(frozen=True)
class RetrievalReport(JsonReport):
    """Mean average precision of one method on one dataset under one protocol.

    Attributes:
        dataset: its name, for example `"roxford5k"`.
        protocol: a key of `keras_sare.datasets.landmarks.landmark_dataset.PROTOCOLS`.
        queries: number of query images.
        queries_without_positive: how many of them have no positive under this protocol; they are excluded from the
            means, as in the public code.
        database: number of database images.
        mean_average_precision: 0 to 1.
        ks: the k of mP@k, rising; may be empty.
        precisions: mP@k, 0 to 1, one per k.

    Raises:
        ValueError: `ks` and `precisions` have different lengths, `ks` does not rise, or a measure is outside 0..1.
    """

    dataset: str
    protocol: str
    queries: int
    queries_without_positive: int
    database: int
    mean_average_precision: float
    ks: tuple[int, ...]
    precisions: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.ks) != len(self.precisions) or list(self.ks) != sorted(set(self.ks)):
            raise ValueError(
                "`ks` must rise and have the same length as `precisions`. "
                f"Received: ks={self.ks}, precisions={self.precisions}"
            )
        if not all(0 <= value <= 1 for value in (self.mean_average_precision, *self.precisions)):
            raise ValueError(
                "`mean_average_precision` and `precisions` must be between 0 and 1. "
                f"Received: mean_average_precision={self.mean_average_precision}, precisions={self.precisions}"
            )

    @plain_arguments
    def at(self, k: int) -> float:
        """Returns mP@`k`, between 0 and 1.

        Raises:
            ValueError: mP@`k` was not measured.
        """
        if k not in self.ks:
            raise ValueError(f"`k` must be one of the measured k, {self.ks}. Received: k={k}")
        return self.precisions[self.ks.index(k)]


@plain_arguments
def format_retrieval_table(reports: Reports, ks: Sequence[int] = (10,), bases: Mapping[str, str] | None = None) -> str:
    """Lays methods out in a Markdown table, in points of 100 as papers do, mAP with the gain over the first method.

    Args:
        reports: name of each row, for example `"off the shelf"` and `"trained"`, and its report by protocol.
        ks: which mP@k to show; those that were not measured have no column.
        bases: name of the row that a row builds on. With it a column tells how much each row adds to the mAP of its
            base, under the first protocol.

    Returns:
        The table, without a trailing line break.

    Raises:
        ValueError: there is no report, the methods were not measured on the same thing, or a base is no row.
    """
    check_same_evaluation(reports)
    baseline, *_ = reports.values()
    protocols = list(baseline)
    first = baseline[protocols[0]]
    shown = [(protocol, k) for k in ks for protocol in protocols if k in baseline[protocol].ks]
    added = _added(reports, bases or {}, protocols[0])
    title = f"{first.dataset}; {first.queries} queries, {first.database} images"
    rows = [
        [title, *(f"mAP {_heading(each)}" for each in baseline.values()), *(f"mP@{k} {p}" for p, k in shown)],
        ["---", *("---:" for _ in [*protocols, *shown])],
    ]
    for name, each in reports.items():
        gains = [_with_gain(each[p], None if each is baseline else baseline[p]) for p in protocols]
        rows.append([name, *gains, *(f"{100 * each[p].at(k):.1f}" for p, k in shown)])
    if added:
        for row, cell in zip(rows, [f"adds, {protocols[0]}", "---", *added], strict=True):
            row.append(cell)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def check_same_evaluation(reports: Reports) -> None:
    """Checks that methods differ in nothing but what they reach.

    Raises:
        ValueError: there is no report, or two methods differ in dataset, protocols, sizes or k.
    """
    if not reports or not all(reports.values()):
        raise ValueError(f"`reports` must hold a report for at least one protocol. Received: {dict(reports)}")
    conditions = {
        name: {
            protocol: dataclasses.replace(one, mean_average_precision=0.0, precisions=(0.0,) * len(one.ks))
            for protocol, one in each.items()
        }
        for name, each in reports.items()
    }
    (first, expected), *others = conditions.items()
    for name, condition in others:
        if condition != expected:
            raise ValueError(
                "`reports` must come from the same dataset and protocols; evaluate them again in the same way. "
                f"Received: {first}={expected}, {name}={condition}"
            )


def _added(reports: Reports, bases: Mapping[str, str], protocol: str) -> list[str]:
    """What each row adds to its base, and to which; nothing where there are no bases."""
    if unknown := [name for name in {**bases, **{base: "" for base in bases.values()}} if name not in reports]:
        raise ValueError(f"`bases` must name rows, {list(reports)}. Received: {unknown[0]!r} in bases={dict(bases)}")
    points = {name: 100 * each[protocol].mean_average_precision for name, each in reports.items()}
    gains = {name: f"{points[name] - points[base]:+.1f} to {base}" for name, base in bases.items()}
    return [gains.get(name, "") for name in reports] if bases else []


def _heading(report: RetrievalReport) -> str:
    without_positive = report.queries_without_positive
    return f"{report.protocol} ({report.queries - without_positive} queries)" if without_positive else report.protocol


def _with_gain(report: RetrievalReport, baseline: RetrievalReport | None) -> str:
    value = 100 * report.mean_average_precision
    return f"{value:.1f}" if baseline is None else f"{value:.1f} ({value - 100 * baseline.mean_average_precision:+.1f})"
