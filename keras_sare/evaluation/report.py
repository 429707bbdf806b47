"""What an evaluation measured: to keep, to compare, to print."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

from keras_sare.evaluation.json_report import JsonReport
from keras_sare.utils.arguments import plain_arguments

_EARLIER_NAMES = {
    "own pass left out": "excluding the query's traversal",
    "own photo left out": "excluding the query's own photo",
}
"""Parts of protocol names in reports of earlier versions, which are compared with those of today."""


@dataclasses.dataclass(frozen=True)
class RecallReport(JsonReport):
    """Recall of one model on one dataset under one protocol.

    Attributes:
        protocol: what counts as found, for example `"recall@N within 25 m"`.
        dataset: name of the dataset and split.
        queries: number of query images.
        queries_without_positive: how many of them have no positive in the database and count as misses.
        database: number of database images.
        ns: the N of recall@N, rising.
        recalls: share of the queries found among the first N, 0 to 1, one per N.

    Raises:
        ValueError: `ns` and `recalls` have different lengths, `ns` does not rise, or a recall is outside 0..1.
    """

    protocol: str
    dataset: str
    queries: int
    queries_without_positive: int
    database: int
    ns: tuple[int, ...]
    recalls: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.ns or len(self.ns) != len(self.recalls):
            raise ValueError(
                "`ns` and `recalls` must have the same length, at least 1. "
                f"Received: ns={self.ns}, recalls={self.recalls}"
            )
        if list(self.ns) != sorted(set(self.ns)):
            raise ValueError(f"`ns` must rise. Received: ns={self.ns}")
        if not all(0 <= recall <= 1 for recall in self.recalls):
            raise ValueError(f"`recalls` must be shares between 0 and 1. Received: recalls={self.recalls}")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads a report, also one of an earlier version, whose protocol gets the name of today.

        Raises:
            ValueError: as `JsonReport.from_json`.
        """
        report = super().from_json(text)
        protocol = report.protocol
        for earlier, name in _EARLIER_NAMES.items():
            protocol = protocol.replace(earlier, name)
        return dataclasses.replace(report, protocol=protocol)

    @plain_arguments
    def at(self, n: int) -> float:
        """Returns recall@`n`, between 0 and 1.

        Raises:
            ValueError: recall@`n` was not measured.
        """
        if n not in self.ns:
            raise ValueError(f"`n` must be one of the measured N, {self.ns}. Received: n={n}")
        return self.recalls[self.ns.index(n)]

    @property
    def mean_reciprocal_rank(self) -> float:
        """Mean over the queries of 1 / rank of the first right image, 0 where none is among the largest N.

        Every query moves it, and the first places most, so that it tells models apart where recall at one N is near 0
        or 1 or rests on few queries. Ranks are known up to the measured N: one between two of these counts as the
        larger.
        """
        found = zip(self.ns, self.recalls, (0.0, *self.recalls), strict=False)
        return sum((recall - before) / n for n, recall, before in found)


@plain_arguments
def better(report_a: RecallReport, report_b: RecallReport, first: int = 5) -> bool:
    """Says whether `report_a` is strictly better: the rule that chooses the best epoch.

    The higher recall@`first` wins; ties go by falling N down to 1, then by rising N above `first`: for 5 by N = 4, 3,
    2, 1, 10, 15, ... as in NetVLAD's training code.

    Args:
        report_a: one report.
        report_b: another of the same dataset and protocol.
        first: the N that decides; where a small database leaves it out, the largest N below it. 0: the mean reciprocal
            rank decides.

    Raises:
        ValueError: the reports do not measure the same thing.
    """
    check_comparable({"report_a": report_a, "report_b": report_b})
    if not first:
        return report_a.mean_reciprocal_rank > report_b.mean_reciprocal_rank
    order = sorted(report_a.ns, key=lambda n: (n > first, -n if n <= first else n))
    return [report_a.at(n) for n in order] > [report_b.at(n) for n in order]


@plain_arguments
def format_table(reports: Mapping[str, RecallReport], ns: Sequence[int] = (1, 5, 10, 20)) -> str:
    """Lays reports side by side in a Markdown table, with the ratio of each to the first.

    Args:
        reports: name of each row, for example `"off the shelf"` and `"trained"`, and its report.
        ns: columns, recall@N for each; an N that was not measured (a small database) has none.

    Returns:
        The table, without a trailing line break.

    Raises:
        ValueError: there is no report, or the reports do not measure the same thing.
    """
    check_comparable(reports)
    (baseline, first), *others = reports.items()
    ns = [n for n in ns if n in first.ns]
    without_positive = (
        f" ({first.queries_without_positive} without a positive)" if first.queries_without_positive else ""
    )
    title = f"{first.dataset}, {first.protocol}; {first.queries} queries{without_positive}, {first.database} images"
    lines = [[title, *(f"recall@{n}" for n in ns)], ["---", *("---:" for _ in ns)]]
    lines += [[name, *(f"{report.at(n):.3f}" for n in ns)] for name, report in reports.items()]
    for name, report in others:
        lines.append([f"{name} / {baseline}", *(_ratio(report.at(n), first.at(n)) for n in ns)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def check_comparable(reports: Mapping[str, RecallReport]) -> None:
    """Checks that reports differ in nothing but their recalls.

    Raises:
        ValueError: there is no report, or two differ in dataset, protocol, sizes or N.
    """
    if not reports:
        raise ValueError("`reports` must hold at least one report. Received: none")
    conditions = {name: dataclasses.replace(one, recalls=(0.0,) * len(one.ns)) for name, one in reports.items()}
    (first, expected), *others = conditions.items()
    for name, condition in others:
        if condition != expected:
            raise ValueError(
                "`reports` must come from the same dataset and protocol; evaluate them again in the same way. "
                f"Received: {first}={expected}, {name}={condition}"
            )


def _ratio(numerator: float, denominator: float) -> str:
    return f"{numerator / denominator:.2f}" if denominator else "–"
