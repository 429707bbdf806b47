"""The lines of `queries.csv` against numbers that are known."""

import csv
import json

import numpy as np
import pytest

from keras_sare.datasets import ImageSet, PlaceDataset, earth_centred
from keras_sare.evaluation.measures.answers import Answers
from keras_sare.evaluation.measures.query_table import COLUMNS, write_queries
from keras_sare.evaluation.measures.ranking import Ranking
from keras_sare.evaluation.recall import first_ranks


def lines(path, dataset, ranking, positives):
    answers = Answers.of(dataset, ranking, positives, first_ranks(ranking.indices, positives))
    write_queries(path, dataset, {"a, b": answers})
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


RANKING = Ranking(
    np.array([[0.2, 0.5], [0.0, np.inf], [np.inf, np.inf]], np.float32), np.array([[2, 0], [1, -1], [-1, -1]])
)
POSITIVES = [np.array([0, 1]), np.array([1]), np.array([], int)]
DATABASE = ['im,"1".jpg', "b.jpg", "c.jpg"]


def test_a_line_says_what_was_found_how_far_away_and_how_like(tmp_path):
    database = ImageSet(DATABASE, [[20.0, 0.0], [10.0, 0.0], [100.0, 40.0]])
    dataset = PlaceDataset("street", database, ImageSet(["q.jpg", "r.jpg", "s.jpg"], [[0.0, 0.0], [10.0, 3.0], [9, 9]]))
    first, second, third = lines(tmp_path / "queries.csv", dataset, RANKING, POSITIVES)
    assert tuple(first) == COLUMNS
    assert first == {
        "model": "a, b",
        "query": "q.jpg",
        "easting": "0.000",
        "northing": "0.000",
        "match": "c.jpg",
        "distance_m": "107.703",
        "score": "0.900000",
        "hit": "0",
        "first_positive": "b.jpg",
        "top5": json.dumps(["c.jpg", 'im,"1".jpg']),
    }
    assert (second["match"], second["distance_m"], second["score"], second["hit"]) == (
        "b.jpg",
        "3.000",
        "1.000000",
        "1",
    )
    assert json.loads(second["top5"]) == ["b.jpg"]
    empty = {"match": "", "distance_m": "", "score": "", "first_positive": "", "top5": "[]", "hit": "0"}
    assert {name: third[name] for name in empty} == empty


def test_places_without_positions_have_no_metres(tmp_path):
    sides = [ImageSet(paths, places=np.array(["x", "y", "z"])) for paths in (DATABASE, ["q.jpg", "r.jpg", "s.jpg"])]
    first, second, _ = lines(tmp_path / "queries.csv", PlaceDataset("rooms", *sides), RANKING, POSITIVES)
    assert (first["easting"], first["northing"], first["distance_m"]) == ("", "", "")
    assert first["first_positive"] == DATABASE[0]
    assert second["hit"] == "1"


@pytest.mark.parametrize("latitude", [59.9, -33.8, 0.0])
def test_degrees_become_metres_to_the_east_and_north(tmp_path, latitude):
    def at(paths, north, east):
        phi = latitude + np.array(north) / 111_200
        return ImageSet(paths, earth_centred(phi, 10 + np.array(east) / (111_320 * np.cos(np.radians(phi)))))

    dataset = PlaceDataset("town", at(DATABASE, [0, 10, 50], [0, 0, 0]), at(["q", "r", "s"], [0, 0, 300], [0, 100, 0]))
    rows = lines(tmp_path / "queries.csv", dataset, RANKING, POSITIVES)
    metres = np.array([[float(row["easting"]), float(row["northing"])] for row in rows])
    np.testing.assert_allclose(metres - metres[0], [[0, 0], [100, 0], [0, 300]], atol=3)
    assert float(rows[0]["distance_m"]) == pytest.approx(50, abs=1)
