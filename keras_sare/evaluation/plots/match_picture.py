"""A picture of what two models find for the same queries."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sare.datasets import ImageSet, Neighbours, PlaceDataset
from keras_sare.evaluation.plots.recall_plots import GalleryRow, Match, match_gallery
from keras_sare.utils.text import printable

ROWS = 8


def draw_matches(
    path: Path,
    dataset: PlaceDataset,
    positives: Neighbours,
    names: tuple[str, str],
    found: tuple[np.ndarray, np.ndarray],
) -> None:
    """Draws queries beside the best match of two models, first those that only one of them finds.

    Up to half of the rows are queries that one model finds and the other does not, the rest are drawn at random from
    all. Under each photo stand its place, where it has one, and its file; under a match also how far it is away.

    Args:
        path: PNG file to write.
        dataset: of the queries and the database.
        positives: of each query.
        names: of the two models.
        found: the best database image of each query, int64 `[Q]`, by each model.
    """
    right = [np.array([image in positives[q] for q, image in enumerate(images)]) for images in found]
    order = np.random.default_rng(0).permutation(len(dataset.queries))
    changed = order[right[0][order] != right[1][order]][: ROWS // 2]
    chosen = np.concatenate([changed, order[~np.isin(order, changed)][: ROWS - len(changed)]]).tolist()
    queries = dataset.queries
    database = dataset.database
    shown = [str(queries.paths[q]) for q in chosen] + [str(database.paths[i[q]]) for i in found for q in chosen]
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(one)) for one in shown])

    def match(query: int, model: int) -> Match:
        image = int(found[model][query])
        caption = _caption(database, image, folder)
        distance = dataset.distance(query, image)
        return Match(str(database.paths[image]), bool(right[model][query]), distance, caption)

    rows = [
        GalleryRow(str(queries.paths[q]), match(q, 0), match(q, 1), f"query {q}\n{_caption(queries, q, folder)}")
        for q in chosen
    ]
    match_gallery(path, rows, titles=("query", *names))


def _caption(images: ImageSet, index: int, folder: str) -> str:
    """Place and file of an image, a line each."""
    place = "" if images.places is None else str(images.places[index])
    lines: Sequence[str] = [place] if place else []
    return "\n".join(printable(line) for line in [*lines, os.path.relpath(images.paths[index], folder)])
