"""`queries.csv`: what each model answered to each query, a line each."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_sare.datasets import PlaceDataset
from keras_sare.evaluation.measures.answers import TOP, Answers
from keras_sare.utils.files import atomic_path

COLUMNS = (
    "model",
    "query",
    "easting",
    "northing",
    "match",
    "distance_m",
    "score",
    "hit",
    "first_positive",
    "top5",
)
"""Of `queries.csv`; other programs read them by name."""


def write_queries(path: Path, dataset: PlaceDataset, answers: Mapping[str, Answers]) -> None:
    """Writes a line for each model and query.

    Files are named as the dataset lists them. `easting`, `northing` and `distance_m` are metres, and empty where there
    are no positions; of a dataset that gives degrees, the first two are metres from the middle of its queries. `score`
    is the cosine similarity of the first match, `hit` 1 where it is right and else 0, `first_positive` the positive
    nearest to the query in metres, and `top5` a JSON list of the first matches.

    Args:
        path: the file, replaced as a whole.
        dataset: of the queries and the database.
        answers: by model.
    """
    with atomic_path(path) as file, file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for model, one in answers.items():
            writer.writerows([model, *row] for row in _rows(dataset, one))


def _rows(dataset: PlaceDataset, answers: Answers) -> Iterator[list[str]]:
    files = dataset.database.paths
    positions = _planar(dataset.queries.positions)
    for query, path in enumerate(dataset.queries.paths.tolist()):
        matches = [str(files[i]) for i in answers.matches[query, :TOP] if i >= 0]
        positive = answers.nearest_positives[query]
        yield [
            path,
            *(["", ""] if positions is None else [f"{value:.3f}" for value in positions[query]]),
            matches[0] if matches else "",
            f"{answers.errors[query]:.3f}" if matches and answers.errors is not None else "",
            f"{answers.scores[query]:.6f}" if matches else "",
            str(int(answers.hits[query])),
            str(files[positive]) if positive >= 0 else "",
            json.dumps(matches),
        ]


def _planar(positions: np.ndarray | None) -> np.ndarray | None:
    """Metres to the east and to the north, also of earth-centred ones: on the plane that touches their middle."""
    if positions is None or positions.shape[1] == 2:
        return positions
    centre = positions.mean(axis=0)
    up = centre / np.linalg.norm(centre)
    east = np.cross([0.0, 0.0, 1.0], up)
    east /= max(np.linalg.norm(east), np.finfo(float).tiny)  # At a pole any direction is as good.
    return np.asarray((positions - centre) @ np.stack([east, np.cross(up, east)], axis=1))
