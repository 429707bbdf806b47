"""Evaluation of a finished run: recall tables, curves, a verdict and a picture of matches."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from keras_sare.datasets import Neighbours, PlaceDataset
from keras_sare.evaluation.measures.measure_files import write_measures
from keras_sare.evaluation.measures.measured import Measured
from keras_sare.evaluation.measures.query_table import write_queries
from keras_sare.evaluation.plots.match_picture import draw_matches
from keras_sare.evaluation.protocols import (
    PROTOCOLS,
    WITHOUT_OWN_PHOTO,
    GroundTruth,
    Protocol,
    ground_truth,
)
from keras_sare.evaluation.report import format_table
from keras_sare.evaluation.report_files import write_reports
from keras_sare.evaluation.verdict import format_verdict, judge
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.files import atomic_path

logger = logging.getLogger(__name__)

Model = TypeVar("Model")

_PLAIN = "recall"
"""Name of the files of the protocol that excludes nothing."""

_MOST_CONDITIONS = 20


@dataclass(frozen=True)
class SavedModel:
    """Which of the models that are compared a run has saved.

    Attributes:
        name: of the model.
        reason: why that one, for example "recall@5 on val 0.80, whitened 0.75".
    """

    name: str
    reason: str = ""


@plain_arguments
def report_places(
    models: Mapping[str, Model],
    dataset: PlaceDataset,
    extract: Callable[[Model], tuple[np.ndarray, np.ndarray]],
    folder: Path,
    protocol: Protocol,
    is_chief: bool = True,
    saved: SavedModel | None = None,
) -> str:
    """Evaluates models side by side on the same places and writes what came out.

    Writes `recall.{json,md,png}`, `recall_verdict.json`, `recall_measures.json` with numbers beside recall and their
    intervals (see `keras_sare.evaluation.measures.measure_files.write_measures`), `queries.csv`, a line for each model
    and query (see `keras_sare.evaluation.measures.query_table.write_queries`), and `matches.png`. The same files but
    the last two are written for each of `keras_sare.evaluation.protocols.PROTOCOLS` that excludes database images of
    this dataset, under its stem: `recall_other_passes` where the dataset names the traversal (walk or drive) of its
    images, with the query's own excluded; `recall_without_own_photos` where queries are in the database, by file or by
    bytes. Then `recall.md` says how many they are and holds that table too.

    Args:
        models: by name, whatever `extract` takes. The first is the baseline.
        dataset: usually the test split.
        extract: gives a model's descriptors of all queries, [Q, D], and of the whole database, [N, D].
        folder: where the files go.
        protocol: the rules, one of `keras_sare.evaluation.protocols.NAMED` or like one. Where it reports conditions
            apart, each has files of its own too, such as `recall_night`.
        is_chief: whether this process evaluates and writes. Of several workers only one does, but all must make this
            call, for all call `extract`.
        saved: the one that the run has saved, of which the verdict speaks and whose matches are drawn beside the
            baseline's; by default the last one's matches are.

    Returns:
        The tables and verdicts, Markdown; "" on workers that are not the chief.

    Raises:
        ValueError: the dataset lacks a column that the protocol asks for.
    """
    truth = ground_truth(protocol, dataset)
    protocols = protocols_of(dataset, truth)
    for name, model in models.items():
        logger.info("Evaluating %s on %s", name, dataset.name)
        descriptors = extract(model)
        if is_chief:
            for one in protocols:
                one.measure(name, descriptors, dataset)
    if not is_chief:
        return ""
    protocols[1:1] = _conditions(protocols[0], truth)
    notes = {_PLAIN: _about_own_photos(dataset, protocols)}
    texts = {one.stem: _write(folder, one, saved, notes.get(one.stem, ())) for one in protocols}
    texts.pop(WITHOUT_OWN_PHOTO.stem, None)  # Its table is among the notes.
    answers = protocols[0].answers
    write_queries(folder / "queries.csv", dataset, answers)
    names = (next(iter(models)), saved.name if saved else list(models)[-1])
    first = (answers[names[0]].matches[:, 0], answers[names[1]].matches[:, 0])
    draw_matches(folder / "matches.png", dataset, truth.positives, names, first)
    return "\n\n".join(texts.values())


def protocols_of(dataset: PlaceDataset, truth: GroundTruth) -> list[Measured]:
    """A protocol itself, and those of `PROTOCOLS` that exclude more images, where that says something.

    Args:
        dataset: of the queries and the database.
        truth: of the protocol.

    Returns:
        What models can be measured by, the protocol itself first.
    """
    measured = [Measured(truth.protocol, _PLAIN, truth.positives, truth.exclude, truth.groups)]
    for beside in PROTOCOLS:
        exclude = beside.exclude(dataset)
        if _excludes_some(truth.positives, exclude):
            both = exclude if truth.exclude is None else list(map(np.union1d, truth.exclude, exclude))
            name = f"{truth.protocol}, {beside.name}"
            measured.append(Measured(name, beside.stem, truth.positives, both, truth.groups))
    return measured


def _conditions(plain: Measured, truth: GroundTruth) -> list[Measured]:
    """The protocol on the queries of each condition, where there are several, and not one for nearly each query."""
    if not 1 < len(truth.conditions) <= _MOST_CONDITIONS:
        return []
    stems = {name: f"{_PLAIN}_{re.sub(r'[^0-9A-Za-z]+', '_', name)}" for name in truth.conditions}
    return [plain.part(name, stems[name], queries) for name, queries in truth.conditions.items()]


def _write(folder: Path, measured: Measured, saved: SavedModel | None, notes: Sequence[str] = ()) -> str:
    verdict = judge({model: one.hits for model, one in measured.answers.items()})
    contents = verdict.to_dict() | ({"saved": saved.name, "reason": saved.reason} if saved else {})
    with atomic_path(folder / f"{measured.stem}_verdict.json") as path:
        path.write_text(json.dumps(contents, indent=2) + "\n")
    text = format_verdict(verdict, *((saved.name, saved.reason) if saved else ()))
    if saved and verdict.is_surpassed(saved.name):
        text += " The test split never chooses."
    path = folder / f"{measured.stem}_measures.json"
    table = write_measures(path, measured.answers, measured.reports, measured.costs)
    return write_reports(folder, measured.reports, measured.stem, [*notes, table, text])


def _excludes_some(positives: Neighbours, exclude: Sequence[np.ndarray]) -> bool:
    """Whether each query's own list excludes anything, but not all that is right."""
    return any(map(len, exclude)) and any(np.setdiff1d(p, e).size for p, e in zip(positives, exclude, strict=True))


def _about_own_photos(dataset: PlaceDataset, protocols: Sequence[Measured]) -> list[str]:
    """Paragraphs on queries that are in the database; none where there are no such queries."""
    shared = np.count_nonzero(dataset.own_photos().counts)
    if not shared:
        return []
    found = f"{shared} of {len(dataset.queries)} queries are in the database themselves, where any model finds them"
    for one in protocols:
        if one.stem == WITHOUT_OWN_PHOTO.stem:
            return [f"**{found}.** Excluding the query's own photo:", format_table(one.reports)]
    return [f"**{found}, and nothing else is right for any query: this recall says nothing of a model.**"]
