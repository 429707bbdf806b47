"""What a report page shows, read from the files of an evaluation or a run."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keras_sare.evaluation.evaluation_record import RECORD, Stage
from keras_sare.evaluation.measures.query_table import COLUMNS
from keras_sare.evaluation.report import RecallReport
from keras_sare.evaluation.retrieval_files import read_retrieval
from keras_sare.evaluation.retrieval_report import Reports

MOST_BYTES = 200_000_000
"""Of one file that is read."""


_MEASURES = "recall_measures.json"

SWEEPS = ("dimension", "database size", "image size")
"""What recall is measured against; each has its file."""

Sweep = Mapping[str, Mapping[str, RecallReport]]
"""Recall by model, then by the value that it was measured at."""

Measures = Mapping[str, Mapping[str, float | None]]
"""Numbers of one model by name, "recall@5": value, and low and high of its interval."""


@dataclass(frozen=True)
class QueryAnswer:
    """What a model answered to a query: a line of `queries.csv`, None where it is empty."""

    model: str
    query: str
    easting: float | None
    northing: float | None
    match: str
    distance: float | None
    score: float | None
    hit: bool
    positive: str
    top: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """What is known of one folder; what it does not hold is empty.

    Attributes:
        name: of the folder.
        reports: recall by model.
        answers: to each query, of each model.
        measures: by model.
        verdict: what `recall_verdict.json` says.
        sweeps: recall by what it was measured against ("dimension", "database size", "image size"), then by model, then
            by its value.
        retrieval: tables of image retrieval by test set.
        history: a row for each epoch: `epoch`, `loss`, `violating`, `recall@N` or `mAP`, `seconds` and its parts.
        settings: that it was made with.
        protocol: its name, source and rules.
        environment: where it was measured.
        stages: what each part of an evaluation took, the search too.
    """

    name: str
    reports: Mapping[str, RecallReport] = field(default_factory=dict)
    answers: Sequence[QueryAnswer] = ()
    measures: Mapping[str, Measures] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)
    retrieval: Mapping[str, Reports] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    stages: Sequence[Stage] = ()


def read_contents(folder: Path, settings: Mapping[str, Any] | None = None) -> Contents:
    """Reads the files that an evaluation or a run wrote; those that are not there are left out.

    Args:
        folder: of the evaluation or the run.
        settings: of the run.

    Returns:
        The contents.

    Raises:
        FileNotFoundError: there is neither a recall.json nor a log.csv.
        ValueError: a file is damaged; the message names it.
    """
    if not any((folder / name).is_file() for name in ("recall.json", "log.csv")):
        raise FileNotFoundError(
            f"There is nothing to report in {str(folder)!r}: neither recall.json nor log.csv. "
            "Name the --output of an evaluation or of a run that has trained an epoch."
        )
    measures = _read_json(folder / _MEASURES)
    reports = _read_reports(folder / "recall.json")
    record = _read_json(folder / RECORD)
    return Contents(
        name=folder.resolve().name,
        reports=reports,
        answers=[_answer(folder / "queries.csv", row) for row in _read_rows(folder / "queries.csv", COLUMNS)],
        measures={model: one.get("measures", {}) for model, one in measures.items()},
        verdict=_read_json(folder / "recall_verdict.json"),
        sweeps={by: found for by in SWEEPS if (found := _read_sweep(folder, by))},
        retrieval={path.parent.name: read_retrieval(path) for path in sorted(folder.glob("*/retrieval.json"))},
        history=[_numbers(folder / "log.csv", row) for row in _read_rows(folder / "log.csv", ("epoch",))],
        settings=settings or record.get("settings") or {},
        protocol=record.get("protocol", {}),
        environment=record.get("environment", {}),
        stages=[
            *_checked(folder / RECORD, lambda: [Stage(**one) for one in record.get("stages", ())]),
            *_checked(folder / _MEASURES, lambda: _searches(measures, reports)),
        ],
    )


def side_by_side(contents: Sequence[Contents]) -> list[Contents]:
    """The same with the folder's name before that of each model, where there are several; all names differ."""
    if len(contents) < 2:
        return list(contents)
    found: list[Contents] = []
    for one in contents:
        taken = {other.name for other in found}
        names = [one.name, *(f"{one.name} ({number})" for number in range(2, len(contents) + 1))]
        found.append(_renamed(one, next(name for name in names if name not in taken)))
    return found


def _renamed(contents: Contents, name: str) -> Contents:
    def named(by_model: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{name}: {model}": one for model, one in by_model.items()}

    return replace(
        contents,
        name=name,
        reports=named(contents.reports),
        answers=[replace(one, model=f"{name}: {one.model}") for one in contents.answers],
        measures=named(contents.measures),
        sweeps={by: named(sweep) for by, sweep in contents.sweeps.items()},
        retrieval={test_set: named(each) for test_set, each in contents.retrieval.items()},
        stages=[replace(one, model=f"{name}: {one.model}") for one in contents.stages],
    )


def _read_reports(path: Path) -> dict[str, RecallReport]:
    return {name: _report(path, one) for name, one in _read_json(path).items()}


def _searches(measures: Mapping[str, Any], reports: Mapping[str, RecallReport]) -> list[Stage]:
    costs = {model: one["search"] for model, one in measures.items() if one.get("search")}
    return [
        Stage(model, "search", reports[model].queries, float(cost["seconds"]), cost.get("peak_bytes"))
        for model, cost in costs.items()
        if model in reports
    ]


def _read_sweep(folder: Path, by: str) -> dict[str, dict[str, RecallReport]]:
    path = folder / f"recall_by_{by.replace(' ', '_')}.json"
    return {
        model: {value: _report(path, one) for value, one in sweep.items()} for model, sweep in _read_json(path).items()
    }


def _report(path: Path, report: Any) -> RecallReport:
    found: RecallReport = _checked(path, lambda: RecallReport.from_json(json.dumps(report)))
    return found


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found = _checked(path, lambda: json.loads(_text(path)))
    if not isinstance(found, dict):
        raise ValueError(f"{str(path)!r} must hold a JSON object; write it again. Received: {type(found).__name__}")
    return found


def _read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    reader = csv.DictReader(_text(path).splitlines())
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise ValueError(f"{str(path)!r} must have the columns {', '.join(columns)}. Missing: {', '.join(missing)}")
    return list(reader)


def _text(path: Path) -> str:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{str(path)!r} must have at most {MOST_BYTES} bytes to be shown. Received: {size} bytes")
    return path.read_text(encoding="utf-8")


def _answer(path: Path, row: Mapping[str, str]) -> QueryAnswer:
    return QueryAnswer(
        model=row["model"],
        query=row["query"],
        easting=_number(path, row["easting"]),
        northing=_number(path, row["northing"]),
        match=row["match"],
        distance=_number(path, row["distance_m"]),
        score=_number(path, row["score"]),
        hit=row["hit"] == "1",
        positive=row["first_positive"],
        top=tuple(map(str, _checked(path, lambda: json.loads(row["top5"] or "[]")))),
    )


def _numbers(path: Path, row: Mapping[str, str]) -> dict[str, float]:
    found = {name: _number(path, text) for name, text in row.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(path: Path, text: str) -> float | None:
    return _checked(path, lambda: float(text)) if text else None


def _checked(path: Path, read: Any) -> Any:
    """What `read` returns; its errors name the file."""
    try:
        return read()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is damaged; write it again: {error}") from error
