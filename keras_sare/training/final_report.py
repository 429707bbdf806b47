"""Evaluation of a finished run: recall tables, curves and a picture of matches."""

import logging
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sare.datasets import Neighbours
from keras_sare.evaluation import RecallReport, evaluate, same_group
from keras_sare.evaluation.plots import GalleryRow, Match, match_gallery
from keras_sare.evaluation.report_files import write_reports
from keras_sare.training.describer import Describer
from keras_sare.training.places import Places
from keras_sare.training.workers import Workers

logger = logging.getLogger(__name__)

GALLERY_ROWS = 8


def report_places(
    models: Mapping[str, keras.Model],
    places: Places,
    folder: Path,
    radius: float,
    strategy: tf.distribute.Strategy | None = None,
) -> str:
    """Evaluates models side by side on the same places and writes what came out.

    Writes `recall.{json,md,png}`, `matches.png`, and where the dataset names the pass (walk or drive) of its images
    also `recall_other_passes.{json,md,png}`, for which a query's own pass is left out of the database.

    Args:
        models: by name; each takes what the inputs of `places` give. The first is the baseline.
        places: usually the test split.
        folder: where the files go.
        radius: metres within which a database image is right.
        strategy: whose replicas and workers describe the images; by default one device. All workers must make this
            call; only the chief evaluates and writes.

    Returns:
        The tables, Markdown; "" on workers that are not the chief.
    """
    strategy = strategy or tf.distribute.get_strategy()
    is_chief = Workers(strategy).is_chief
    dataset = places.dataset
    positives = dataset.positives(radius)
    own_pass = _own_pass(places, positives)
    protocol = f"recall@N within {radius:g} m"
    reports: dict[str, RecallReport] = {}
    across: dict[str, RecallReport] = {}
    first: dict[str, np.ndarray] = {}
    for name, model in models.items():
        logger.info("Evaluating %s on %s", name, dataset.name)
        queries, database = places.describe_all(Describer(model, strategy))
        if not is_chief:
            continue
        reports[name], predictions = evaluate(queries, database, positives, protocol=protocol, dataset=dataset.name)
        first[name] = predictions[:, 0]
        if own_pass is not None:
            across[name], _ = evaluate(
                queries,
                database,
                positives,
                protocol=f"{protocol}, own pass left out",
                dataset=dataset.name,
                exclude=own_pass,
            )
    if not is_chief:
        return ""
    tables = [write_reports(folder, reports)]
    if across:
        tables.append(write_reports(folder, across, stem="recall_other_passes"))
    names = list(models)
    _draw_matches(folder / "matches.png", places, positives, (names[0], names[-1]), (first[names[0]], first[names[-1]]))
    return "\n\n".join(tables)


def _own_pass(places: Places, positives: Neighbours) -> list[np.ndarray] | None:
    """Database images of each query's own pass; None where there are none, or where no query would keep a positive."""
    queries, database = places.dataset.queries.passes, places.dataset.database.passes
    if queries is None or database is None or not np.isin(queries, database).any():
        return None
    own = same_group(queries, database)
    return own if any(np.setdiff1d(p, o).size for p, o in zip(positives, own, strict=True)) else None


def _draw_matches(
    path: Path,
    places: Places,
    positives: Neighbours,
    names: tuple[str, str],
    found: tuple[np.ndarray, np.ndarray],
) -> None:
    """Draws queries that training changed first: half of the rows gained or lost, the rest a fair sample."""
    queries, database = places.dataset.queries, places.dataset.database

    def match(query: int, image: int) -> Match:
        distance = float(np.linalg.norm(queries.positions[query] - database.positions[image]))
        return Match(str(database.paths[image]), bool(np.isin(image, positives[query])), distance)

    right = [np.array([match(q, int(image)).correct for q, image in enumerate(images)]) for images in found]
    order = np.random.default_rng(0).permutation(len(queries))
    changed = order[right[0][order] != right[1][order]][: GALLERY_ROWS // 2]
    chosen = np.concatenate([changed, order[~np.isin(order, changed)][: GALLERY_ROWS - len(changed)]])
    rows = []
    for query in chosen.tolist():
        before, after = (match(query, int(images[query])) for images in found)
        rows.append(GalleryRow(str(queries.paths[query]), before, after, caption=f"query {query}"))
    match_gallery(path, rows, titles=("query", *names))
