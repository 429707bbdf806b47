"""Evaluation of a finished run: recall tables, curves, a verdict and a picture of matches."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_sare.datasets import Neighbours, PlaceDataset, same_group
from keras_sare.evaluation.plots.match_picture import draw_matches
from keras_sare.evaluation.recall import evaluate, first_ranks
from keras_sare.evaluation.report import RecallReport, format_table
from keras_sare.evaluation.report_files import write_reports
from keras_sare.evaluation.verdict import format_verdict, judge
from keras_sare.utils.files import atomic_path

logger = logging.getLogger(__name__)

OWN_PHOTOS = "recall_without_own_photos"
"""Name of the files of the evaluation for which a query's own photo is left out of the database."""


@dataclass(frozen=True)
class SavedModel:
    """Which of the models that are compared a run has saved.

    Attributes:
        name: of the model.
        reason: why that one, for example "recall@5 on val 0.80, whitened 0.75".
    """

    name: str
    reason: str = ""


@dataclass
class _Protocol:
    """One way to evaluate, and what it gave by model."""

    name: str
    stem: str
    exclude: Sequence[np.ndarray] | None = None
    reports: dict[str, RecallReport] = field(default_factory=dict)
    hits: dict[str, np.ndarray] = field(default_factory=dict)


def report_places(
    models: Mapping[str, keras.Model],
    dataset: PlaceDataset,
    extract: Callable[[keras.Model], tuple[np.ndarray, np.ndarray]],
    folder: Path,
    radius: float,
    is_chief: bool = True,
    saved: SavedModel | None = None,
) -> str:
    """Evaluates models side by side on the same places and writes what came out.

    Writes `recall.{json,md,png}`, `recall_verdict.json`, `matches.png`, and where the dataset names the pass (walk or
    drive) of its images also `recall_other_passes.{json,md,png}` and `recall_other_passes_verdict.json`, for which a
    query's own pass is left out of the database. Where queries are in the database, by file or by bytes, the same is
    written for `recall_without_own_photos`, and `recall.md` says how many they are and holds that table too.

    Args:
        models: by name. The first is the baseline.
        dataset: usually the test split.
        extract: gives a model's descriptors of all queries, [Q, D], and of the whole database, [N, D].
        folder: where the files go.
        radius: metres within which a database image is right.
        is_chief: whether this process evaluates and writes; of several workers, which all must make this call and call
            `extract`, only one does.
        saved: the one that the run has saved, of which the verdict speaks and whose matches are drawn beside the
            baseline's; by default the last one's matches are.

    Returns:
        The tables and verdicts, Markdown; "" on workers that are not the chief.
    """
    positives = dataset.positives(radius)
    protocols = _protocols(dataset, positives, radius)
    first: dict[str, np.ndarray] = {}
    for name, model in models.items():
        logger.info("Evaluating %s on %s", name, dataset.name)
        queries, database = extract(model)
        if is_chief:
            found = [_evaluate(one, name, (queries, database), positives, dataset.name) for one in protocols]
            first[name] = found[0][:, 0]
    if not is_chief:
        return ""
    notes = {"recall": _about_own_photos(dataset, protocols)}
    texts = {one.stem: _write(folder, one, saved, notes.get(one.stem, ())) for one in protocols}
    texts.pop(OWN_PHOTOS, None)  # Its table is among the notes.
    shown = next(iter(models)), saved.name if saved else list(models)[-1]
    draw_matches(folder / "matches.png", dataset, positives, shown, (first[shown[0]], first[shown[1]]))
    return "\n\n".join(texts.values())


def _protocols(dataset: PlaceDataset, positives: Neighbours, radius: float) -> list[_Protocol]:
    """The plain one, and those that leave images out of the database, where that says something."""
    name = dataset.protocol(radius)
    others = [
        _Protocol(f"{name}, own photo left out", OWN_PHOTOS, dataset.own_photos()),
        _Protocol(f"{name}, own pass left out", "recall_other_passes", _own_pass(dataset)),
    ]
    return [_Protocol(name, "recall"), *(one for one in others if _leaves_some(positives, one.exclude or []))]


def _evaluate(
    protocol: _Protocol, model: str, descriptors: tuple[np.ndarray, np.ndarray], positives: Neighbours, dataset: str
) -> np.ndarray:
    """Keeps what one model reaches under a protocol, and returns its predictions."""
    report, predictions = evaluate(
        *descriptors, positives, protocol=protocol.name, dataset=dataset, exclude=protocol.exclude
    )
    protocol.reports[model] = report
    protocol.hits[model] = first_ranks(predictions, positives) < 1
    return predictions


def _write(folder: Path, protocol: _Protocol, saved: SavedModel | None, notes: Sequence[str] = ()) -> str:
    verdict = judge(protocol.hits)
    contents = verdict.to_dict() | ({"saved": saved.name, "reason": saved.reason} if saved else {})
    with atomic_path(folder / f"{protocol.stem}_verdict.json") as path:
        path.write_text(json.dumps(contents, indent=2) + "\n")
    text = format_verdict(verdict, *((saved.name, saved.reason) if saved else ()))
    if saved and verdict.is_surpassed(saved.name):
        text += " The test split never chooses."
    return write_reports(folder, protocol.reports, protocol.stem, [*notes, text])


def _own_pass(dataset: PlaceDataset) -> list[np.ndarray]:
    """Database images of each query's own pass; none where passes are not known."""
    queries, database = dataset.queries.passes, dataset.database.passes
    return [] if queries is None or database is None else same_group(queries, database)


def _leaves_some(positives: Neighbours, own: Sequence[np.ndarray]) -> bool:
    """Whether leaving out each query's own images leaves out anything, but not all that is right."""
    return any(map(len, own)) and any(np.setdiff1d(p, o).size for p, o in zip(positives, own, strict=True))


def _about_own_photos(dataset: PlaceDataset, protocols: Sequence[_Protocol]) -> list[str]:
    """Paragraphs on queries that are in the database; none where there are no such queries."""
    shared = np.count_nonzero(dataset.own_photos().counts)
    if not shared:
        return []
    found = f"{shared} of {len(dataset.queries)} queries are in the database themselves, where any model finds them"
    for one in protocols:
        if one.stem == OWN_PHOTOS:
            return [f"**{found}.** With a query's own photo left out of the database:", format_table(one.reports)]
    return [f"**{found}, and nothing else is right for any query: this recall says nothing of a model.**"]
