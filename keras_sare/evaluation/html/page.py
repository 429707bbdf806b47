"""One HTML file of evaluations and runs."""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from PIL import Image

from keras_sare.evaluation.html import charts
from keras_sare.evaluation.html.contents import Contents, QueryAnswer, renamed
from keras_sare.evaluation.html.frame import page
from keras_sare.evaluation.html.gallery import Case, chosen_cases, columns_of
from keras_sare.evaluation.html.tables import escaped, named_values, rows_table
from keras_sare.evaluation.html.thumbnails import Thumbnails
from keras_sare.evaluation.report import check_comparable
from keras_sare.utils.files import atomic_path

PHOTO_BYTES = 6_000_000
"""Of all pictures in a page, which stays below 10 MB with them."""

MOST_LOOKED_AT = 2
"""Queries of each kind with what a model looks at: each takes some 150 passes through the model."""

Overlays = Callable[[str, str], Mapping[str, Image.Image]]
"""Takes a query's and a match's file and returns pictures by what they show."""

_VISIBLE_SETTINGS = 80


def write_report(
    path: Path, contents: Sequence[Contents], overlays: Overlays | None = None, orientation: str = "upright"
) -> list[dict[str, Any]]:
    """Writes a page of one or several evaluations or runs, which needs no network.

    Args:
        path: the HTML file, replaced as a whole.
        contents: of each folder.
        overlays: pictures of what a model looks at, for each query that is shown.
        orientation: how photos are read, "upright" or "stored".

    Returns:
        The Vega-Lite specifications that are in the page.

    Raises:
        ImportError: the extra `report` is not installed.
        ValueError: the folders' recalls do not measure the same thing.
    """
    all_contents = [renamed(one) for one in contents] if len(contents) > 1 else list(contents)
    reports = {name: report for one in all_contents for name, report in one.reports.items()}
    if reports:
        check_comparable(reports)
    specifications: list[dict[str, Any]] = []
    thumbnails = Thumbnails(PHOTO_BYTES, orientation)
    sections = [
        *_recall(all_contents, specifications),
        *_training(all_contents, specifications),
        *_queries(all_contents, specifications, thumbnails, overlays),
        *_configuration(all_contents),
    ]
    names = ", ".join(one.name for one in contents)
    with atomic_path(path) as file:
        file.write_text(page(f"Place recognition: {names}", sections, specifications), encoding="utf-8")
    return specifications


def _recall(contents: Sequence[Contents], specifications: list[dict[str, Any]]) -> list[str]:
    reports = {name: report for one in contents for name, report in one.reports.items()}
    if not reports:
        return []
    first = next(iter(reports.values()))
    about = (
        f"{first.dataset}, {first.protocol}: {first.queries} queries "
        f"({first.queries_without_positive} without a positive), {first.database} database images. Bands: 95 % "
        "intervals by bootstrap over the queries."
    )
    rows = charts.recall_rows(reports)
    measures = [
        {"model": model, **{name: _with_interval(one) for name, one in found.items()}}
        for contents_ in contents
        for model, found in contents_.measures.items()
    ]
    parts = [f"<p>{escaped(about)}</p>", _chart(charts.recall_chart(reports), specifications)]
    parts += [_details(rows_table("Recall, per cent", rows))]
    if measures:
        parts.append(rows_table("Other measures, with 95 % intervals", measures))
    return [_section("Recall", *parts)]


def _training(contents: Sequence[Contents], specifications: list[dict[str, Any]]) -> list[str]:
    history = [{"run": one.name, **row} for one in contents for row in one.history]
    if not history:
        return []
    figures = {"loss": "loss", "violating": "share of violating tuples"}
    figures |= {
        name: f"validation {name}" for row in history for name in row if name in ("recall@1", "recall@5", "mAP")
    }
    parts = []
    for name, title in figures.items():
        if any(name in row for row in history):
            parts += [f"<h3>{escaped(title)}</h3>", _chart(charts.training_chart(history, name, title), specifications)]
    times = charts.time_rows(history)
    shown = [{name: value for name, value in row.items() if not name.startswith("seconds_")} for row in history]
    sections = [_section("Training", *parts, _details(rows_table("Figures of each epoch", shown)))]
    if times:
        drawn = _chart(charts.time_chart(history), specifications)
        sections.append(_section("Where the time went", drawn, _details(rows_table("Seconds by part", times))))
    return sections


def _queries(
    contents: Sequence[Contents],
    specifications: list[dict[str, Any]],
    thumbnails: Thumbnails,
    overlays: Overlays | None,
) -> list[str]:
    answers = [answer for one in contents for answer in one.answers]
    if not answers:
        return []
    models = list(dict.fromkeys(one.model for one in answers))
    cases = chosen_cases(answers, models)
    looked_at = _first_of_each(cases, MOST_LOOKED_AT)
    cards = [_card(i, case, thumbnails, overlays if i in looked_at else None) for i, case in enumerate(cases)]
    chart = charts.query_chart(answers, models, _photos(cases, thumbnails))
    parts = []
    if chart is not None:
        parts += [
            "<p>Drag over the map or the histogram to choose queries; a click beside takes the choice back.</p>",
            _chart(chart, specifications),
        ]
    parts.append(_details(rows_table("Answers to the queries", [_answer_row(one) for one in answers])))
    sections = [_section("Queries", *parts)]
    if cards:
        sections.append(_section("Best gains and worst failures", f'<ol class="cards">{"".join(cards)}</ol>'))
    return sections


def _configuration(contents: Sequence[Contents]) -> list[str]:
    settings = [
        _details(
            named_values(f"Settings of {one.name}", dict(list(one.settings.items())[:_VISIBLE_SETTINGS])), "Settings"
        )
        for one in contents
        if one.settings
    ]
    return [
        _section("Configuration", *settings) if settings else "",
        _section("Environment", named_values("Where this page was written", environment())),
    ]


def environment() -> dict[str, object]:
    """Versions and machine of this process."""
    versions = {}
    for package in ("keras-sare", "tensorflow", "keras", "numpy", "altair"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    machine = {"python": platform.python_version(), "system": platform.platform(), "processors": os.cpu_count()}
    return {**versions, **machine}


def _photos(cases: Sequence[Case], thumbnails: Thumbnails) -> list[dict[str, Any]]:
    rows = []
    for case in cases:
        for column, path in columns_of(case.answer).items():
            if url := thumbnails.of(path):
                rows.append(
                    {"model": case.answer.model, "query": case.answer.query, "column": column, "file": path, "url": url}
                )
    return rows


def _first_of_each(cases: Sequence[Case], most: int) -> set[int]:
    """Numbers of the first cases of each title."""
    numbers: dict[str, list[int]] = {}
    for number, case in enumerate(cases):
        numbers.setdefault(case.title, []).append(number)
    return {number for found in numbers.values() for number in found[:most]}


def _card(number: int, case: Case, thumbnails: Thumbnails, overlays: Overlays | None) -> str:
    answer = case.answer
    right = {answer.positive, *([answer.match] if answer.hit else [])}
    figures = []
    for column, path in columns_of(answer).items():
        if not path:
            continue
        what = {"query": "query", "positive": "nearest positive"}.get(column, f"match {column}")
        figures.append(_figure(thumbnails.of(path), what, path, "right" if path in right else ""))
    if overlays is not None and answer.match and os.path.isfile(answer.query) and os.path.isfile(answer.match):
        for what, picture in overlays(answer.query, answer.match).items():
            figures.append(_figure(thumbnails.add(picture), what, f"of query {number + 1}"))
    distance = "" if answer.distance is None else f", {answer.distance:.0f} m away"
    score = "" if answer.score is None else f"similarity {answer.score:.3f}"
    heading = f"<h3>{number + 1}: {escaped(case.title)}</h3><p>{escaped(score + distance)}</p>"
    return f'<li>{heading}<div class="row">{"".join(figures)}</div></li>'


def _figure(url: str, what: str, path: str, kind: str = "") -> str:
    picture = f'<img src="{url}" alt="{escaped(what)}: {escaped(path)}" loading="lazy">' if url else "<p>no picture</p>"
    name = escaped(os.path.basename(path))
    return f'<figure class="{kind}">{picture}<figcaption>{escaped(what)}<br><small>{name}</small></figcaption></figure>'


def _answer_row(answer: QueryAnswer) -> dict[str, object]:
    return {
        "query": os.path.basename(answer.query),
        "model": answer.model,
        "found": "yes" if answer.hit else "no",
        "match": os.path.basename(answer.match),
        "metres": answer.distance,
        "similarity": answer.score,
    }


def _with_interval(measure: Mapping[str, float | None]) -> str:
    value, low, high = (measure.get(name) for name in ("value", "low", "high"))
    if value is None:
        return ""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _chart(specification: dict[str, Any], specifications: list[dict[str, Any]]) -> str:
    """A place for a chart, which joins the page's specifications."""
    number = len(specifications)
    specifications.append(specification)
    label = f"{escaped(specification['description'])}. The table below says the same."
    return f'<div class="chart" id="chart{number}" role="group" aria-label="{label}"></div>'


def _details(content: str, title: str = "As a table") -> str:
    return f"<details><summary>{escaped(title)}</summary>{content}</details>"


def _section(title: str, *parts: str) -> str:
    name = json.dumps(title.lower().replace(" ", "-"))
    return f"<section aria-labelledby={name}><h2 id={name}>{escaped(title)}</h2>{''.join(parts)}</section>"
