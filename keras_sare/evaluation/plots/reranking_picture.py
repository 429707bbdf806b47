"""A picture of what re-ranking found: boxes in the photos that it put first."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sare.datasets.images.image_sizes import image_sizes
from keras_sare.datasets.landmarks.landmark_dataset import LandmarkDataset
from keras_sare.evaluation.plots.box_pictures import BoxedPicture, box_gallery, box_in_pixels
from keras_sare.retrieval.reranking.reranker import Reranking


def draw_reranking(
    path: str | os.PathLike[str],
    dataset: LandmarkDataset,
    found: Reranking,
    maps: Sequence[np.ndarray],
    queries: int = 6,
    results: int = 5,
    orientation: str = "upright",
) -> None:
    """Draws some queries with what re-ranking put first for each, and the boxes it found there.

    Args:
        path: PNG file to write.
        dataset: of the photos. Photos that its first protocol ignores are not drawn.
        found: of all queries.
        maps: feature maps by number of the database image, of which the sizes count.
        queries: how many, evenly taken from all.
        results: photos for each.
        orientation: "upright" or "stored": how images were read, in whose pixels the boxes are.
    """
    rights, ignored = dataset.relevant(dataset.protocols[0])
    shown = np.linspace(0, len(dataset.queries) - 1, min(queries, len(dataset.queries))).astype(int)
    rows = []
    for query in shown.tolist():
        box = None if dataset.boxes is None else tuple(dataset.boxes[query].tolist())
        row = [BoxedPicture(dataset.queries[query], box, caption=Path(dataset.queries[query]).stem)]
        order = np.argsort(-found.scores[query], kind="stable")
        order = order[~np.isin(found.candidates[query, order], ignored[query])][:results]
        for place, image in zip(order.tolist(), found.candidates[query, order].tolist(), strict=True):
            height, width = image_sizes(dataset.database[image : image + 1], orientation)[0].tolist()
            pixels = box_in_pixels(found.boxes[query, place], maps[image].shape[:2], (height, width))
            row.append(
                BoxedPicture(dataset.database[image], pixels, float(found.scores[query, place]), image in rights[query])
            )
        rows.append(row)
    box_gallery(path, rows, orientation=orientation)
