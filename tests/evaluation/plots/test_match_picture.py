import dataclasses

import numpy as np
import pytest

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.evaluation.plots import match_picture
from keras_sare.evaluation.plots.match_picture import ROWS, draw_matches

QUERIES = 20


@pytest.fixture
def dataset():
    """Places 40 m apart in a row, query and database image of each 3 m from one another."""
    positions = np.stack([40.0 * np.arange(QUERIES), np.zeros(QUERIES)], axis=1)
    places = np.array([f"hall {i}" for i in range(QUERIES)])
    database = ImageSet([f"/data/images/{i:03}.jpg" for i in range(QUERIES)], positions, places=places)
    queries = ImageSet([f"/data/queries/{i:03}.jpg" for i in range(QUERIES)], positions + [3.0, 0.0], places=places)
    return PlaceDataset("row", database, queries)


@pytest.fixture
def drawn(dataset, monkeypatch, tmp_path):
    """Draws matches and returns rows and titles of the gallery."""

    def draw(before, after, dataset=dataset):
        seen = []
        monkeypatch.setattr(match_picture, "match_gallery", lambda _, rows, titles: seen.extend([rows, titles]))
        found = np.asarray(before), np.asarray(after)
        draw_matches(tmp_path / "matches.png", dataset, dataset.positives(25), ("off the shelf", "trained"), found)
        return seen

    return draw


def test_every_photo_is_named_by_place_and_file_and_every_match_by_its_distance(drawn):
    own = np.arange(QUERIES)
    next_one = np.minimum(np.arange(QUERIES) + 1, QUERIES - 1)
    rows, titles = drawn(next_one, own)
    assert titles == ("query", "off the shelf", "trained")
    assert len(rows) == ROWS
    for row in rows:
        number = int(row.query[-7:-4])
        assert row.caption == f"query {number}\nhall {number}\nqueries/{number:03}.jpg"
        assert (row.after.correct, row.after.distance) == (True, 3.0)
        assert row.after.caption == f"hall {number}\nimages/{number:03}.jpg"
        if number < QUERIES - 1:
            assert (row.before.correct, row.before.distance) == (False, 37.0)
            assert row.before.caption == f"hall {number + 1}\nimages/{number + 1:03}.jpg"


def test_queries_that_one_model_alone_finds_come_first(drawn):
    before = np.arange(QUERIES)
    after = np.arange(QUERIES)
    before[[4, 9]] = 0
    after[13] = 0
    rows, _ = drawn(before, after)
    assert {row.before.correct != row.after.correct for row in rows[:3]} == {True}
    assert {row.before.correct == row.after.correct for row in rows[3:]} == {True}


def test_control_characters_of_names_are_escaped_and_places_may_be_missing(drawn, dataset):
    files = np.array([f"/data/images/\x1b[2J{i}.jpg" for i in range(QUERIES)])
    database = dataclasses.replace(dataset.database, paths=files, places=None)
    rows, _ = drawn(np.arange(QUERIES), np.arange(QUERIES), dataclasses.replace(dataset, database=database))
    assert all(row.after.caption.startswith("images/\\x1b[2J") for row in rows)


def test_files_of_one_folder_are_named_without_it(drawn, dataset):
    sides = {
        side: dataclasses.replace(getattr(dataset, side), paths=[f"/data/{side}{i}.jpg" for i in range(QUERIES)])
        for side in ("database", "queries")
    }
    rows, _ = drawn(np.arange(QUERIES), np.arange(QUERIES), dataclasses.replace(dataset, **sides))
    assert all(row.after.caption.split("\n")[1].startswith("database") for row in rows)
