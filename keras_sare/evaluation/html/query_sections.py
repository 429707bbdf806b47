"""Sections of a report page on single queries."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from keras_sare.evaluation.html.contents import Contents, QueryAnswer
from keras_sare.evaluation.html.gallery import Case, chosen_cases, columns_of
from keras_sare.evaluation.html.parts import Drawings, details, section
from keras_sare.evaluation.html.query_charts import query_chart
from keras_sare.evaluation.html.tables import escaped, rows_table
from keras_sare.evaluation.html.thumbnails import Thumbnails
from keras_sare.utils.progress import progress

MOST_LOOKED_AT = 2
"""Queries of each kind with what a model looks at: each takes some 150 passes through the model."""

_EXPLANATION = (
    "Below the photos of some queries stands what the model looks at in the query and in its first match: bright is "
    "what makes the two alike for it. Colours of clusters mean nothing but that cells of one colour are of one cluster."
)

Overlays = Callable[[str, str], Mapping[str, Image.Image]]
"""Takes a query's and a match's file and returns pictures by what they show."""


def query_sections(
    contents: Sequence[Contents],
    drawings: Drawings,
    thumbnails: Thumbnails,
    overlays: Overlays | None,
) -> list[str]:
    """Queries on a map, and photos of some; nothing where no answers were stored."""
    answers = [answer for one in contents for answer in one.answers]
    if not answers:
        return []
    models = list(dict.fromkeys(one.model for one in answers))
    cases = chosen_cases(answers, models)
    maps = _maps(cases, thumbnails, overlays) if overlays is not None else {}
    cards = [_card(i, case, thumbnails, maps.get(i, "")) for i, case in enumerate(cases)]
    chart = query_chart(answers, models, _photos(cases, thumbnails))
    parts = []
    if chart is not None:
        parts += [
            "<p>Drag over the map or the histogram to choose queries; a click beside takes the choice back.</p>",
            drawings.place(chart),
        ]
    parts.append(details(rows_table("Answers to the queries", [_answer_row(one) for one in answers])))
    sections = [section("Queries", *parts)]
    if cards:
        explained = f"<p>{_EXPLANATION}</p>" if maps else ""
        sections.append(section("Best gains and worst failures", explained, f'<ol class="cards">{"".join(cards)}</ol>'))
    return sections


def _photos(cases: Sequence[Case], thumbnails: Thumbnails) -> list[dict[str, Any]]:
    rows = []
    for case in cases:
        for column, path in columns_of(case.answer).items():
            if url := thumbnails.of(path):
                rows.append(
                    {"model": case.answer.model, "query": case.answer.query, "column": column, "file": path, "url": url}
                )
    return rows


def _maps(cases: Sequence[Case], thumbnails: Thumbnails, overlays: Overlays) -> dict[int, str]:
    """What the model looks at in the first cases of each title, by their number."""
    numbers: dict[str, list[int]] = {}
    for number, case in enumerate(cases):
        if case.answer.match and os.path.isfile(case.answer.query) and os.path.isfile(case.answer.match):
            numbers.setdefault(case.title, []).append(number)
    chosen = [number for found in numbers.values() for number in found[:MOST_LOOKED_AT]]
    found = {}
    for number in progress(chosen, "what the model looks at", unit="query"):
        pictures = overlays(cases[number].answer.query, cases[number].answer.match)
        figures = [
            _figure(thumbnails.add(picture), what, f"of query {number + 1}") for what, picture in pictures.items()
        ]
        found[number] = f'<div class="row">{"".join(figures)}</div>'
    return found


def _card(number: int, case: Case, thumbnails: Thumbnails, maps: str) -> str:
    answer = case.answer
    right = {answer.positive, *([answer.match] if answer.hit else [])}
    figures = []
    for column, path in columns_of(answer).items():
        if not path:
            continue
        what = {"query": "query", "positive": "nearest positive"}.get(column, f"match {column}")
        figures.append(_figure(thumbnails.of(path), what, path, "right" if path in right else ""))
    distance = "" if answer.distance is None else f", {answer.distance:.0f} m away"
    score = "" if answer.score is None else f"similarity {answer.score:.3f}"
    heading = f"<h3>{number + 1}: {escaped(case.title)}</h3><p>{escaped(score + distance)}</p>"
    return f'<li>{heading}<div class="row">{"".join(figures)}</div>{maps}</li>'


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
