"""The report on a test split, of descriptors that are given: no model is asked."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.evaluation import place_report, report_places
from keras_sare.evaluation.place_report import SavedModel
from keras_sare.evaluation.protocols import named_protocol

PLACES = 6


@pytest.fixture
def dataset(tmp_path):
    """Places 40 m apart along a line, each seen by the database and, 3 m off, by a query."""
    rng = np.random.default_rng(2)
    sides = []
    for role, offset in (("database", 0.0), ("query", 3.0)):
        paths = [str(tmp_path / f"{role}_{place}.png") for place in range(PLACES)]
        for path in paths:
            Image.fromarray(rng.integers(0, 255, (12, 16, 3)).astype("uint8")).save(path)
        sides.append(ImageSet(paths, np.stack([40.0 * np.arange(PLACES) + offset, np.zeros(PLACES)], axis=1)))
    return PlaceDataset("test", *sides)


@pytest.fixture
def descriptors():
    """Of queries and database: each place has one of its own, and queries are noisy."""
    rng = np.random.default_rng(0)
    database = rng.normal(size=(PLACES, 8))
    sides = database + 0.2 * rng.normal(size=database.shape), database
    return tuple((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32") for rows in sides)


@pytest.fixture
def without_pictures(monkeypatch):
    """They take longer than all the rest."""
    monkeypatch.setattr(place_report, "draw_matches", lambda *_: None)
    monkeypatch.setattr("keras_sare.evaluation.report_files.recall_curves", lambda *_: None)


def report(described, dataset, folder, radius=25, **options):
    """Of models that are their own descriptors."""
    protocol = named_protocol("own").changed(radius=radius)
    return report_places(described, dataset, lambda both: both, folder, protocol, **options)


def with_sides(dataset, **changed):
    """`changed` holds for each field of the two sides its values for the queries and for the database."""
    queries, database = (
        dataclasses.replace(side, **{name: np.array(values[i]) for name, values in changed.items()})
        for i, side in enumerate((dataset.queries, dataset.database))
    )
    return dataclasses.replace(dataset, queries=queries, database=database)


def test_models_are_compared_and_leave_tables_and_pictures(dataset, descriptors, tmp_path):
    folder = tmp_path / "out"
    table = report({"off the shelf": descriptors, "trained": descriptors}, dataset, folder)
    assert table == (folder / "recall.md").read_text().rstrip()
    assert "| trained / off the shelf | 1.00 |" in table
    assert sorted(path.name for path in folder.iterdir()) == [
        "matches.png",
        "queries.csv",
        "recall.json",
        "recall.md",
        "recall.png",
        "recall_measures.json",
        "recall_verdict.json",
    ]


def test_named_places_are_enough(dataset, descriptors, tmp_path):
    names = np.array(["hall", "hall", "roof", "roof", "yard", "yard"])
    sides = [ImageSet(side.paths, places=names) for side in (dataset.database, dataset.queries)]
    table = report({"off the shelf": descriptors}, PlaceDataset("rooms", *sides), tmp_path / "out")
    assert "recall@N at the same place; 6 queries, 6 images" in table
    assert (tmp_path / "out" / "matches.png").stat().st_size > 100


def test_another_timestamp_is_asked_of_the_positives(dataset, descriptors, tmp_path, without_pictures):
    dataset = with_sides(dataset, timestamps=([1, 2, 1, 2, 1, 2], [1, 1, 1, 1, 2, 1]))
    dataset = dataclasses.replace(dataset, other_timestamps=True)
    table = report({"off the shelf": descriptors}, dataset, tmp_path / "out")
    assert "of another timestamp, excluding" not in table  # One's own timestamp is part of the rule of such data.
    assert "of another timestamp; 6 queries (2 without a positive)" in table
    with (tmp_path / "out" / "queries.csv").open(newline="") as file:
        found = [json.loads(row["top5"]) for row in csv.DictReader(file)]
    for query, paths in enumerate(found):
        times = [dataset.database.timestamps[dataset.database.paths.tolist().index(path)] for path in paths]
        assert dataset.queries.timestamps[query] not in times


def test_rows_are_explained_and_a_verdict_ends_the_report(dataset, descriptors, tmp_path, without_pictures):
    models = {"off the shelf": descriptors, "trained": descriptors}
    text = report(models, dataset, tmp_path / "out", saved=SavedModel("trained", "recall@5 on val 0.9"))
    assert "A row `A / B` is the recall of A divided by that of B" in text
    assert "Verdict: best is **off the shelf** and **trained**, recall@1" in text
    assert text.endswith("Saved as model.keras: **trained** (recall@5 on val 0.9).")
    stored = json.loads((tmp_path / "out" / "recall_verdict.json").read_text())
    measured = json.loads((tmp_path / "out" / "recall.json").read_text())
    assert stored["values"] == {name: report["recalls"][0] for name, report in measured.items()}
    assert (stored["saved"], stored["reason"]) == ("trained", "recall@5 on val 0.9")


def test_matches_of_the_saved_model_are_drawn_beside_the_baselines(
    dataset, descriptors, tmp_path, without_pictures, monkeypatch
):
    drawn = []
    monkeypatch.setattr(place_report, "draw_matches", lambda *arguments: drawn.append(arguments[3]))
    models = dict.fromkeys(["off the shelf", "whitened", "trained"], descriptors)
    report(models, dataset, tmp_path / "out")
    report(models, dataset, tmp_path / "out", saved=SavedModel("whitened"))
    assert drawn == [("off the shelf", "trained"), ("off the shelf", "whitened")]


def test_across_traversals_the_querys_own_is_excluded(dataset, descriptors, tmp_path, monkeypatch):
    monkeypatch.setattr(place_report, "draw_matches", lambda *_: None)
    # Queries 0 to 2 were taken on the traversal of their own positives, the others on a traversal of its own.
    dataset = with_sides(dataset, traversals=(["a", "a", "a", "c", "c", "c"], ["a", "a", "a", "b", "b", "b"]))
    table = report({"off the shelf": descriptors}, dataset, tmp_path / "out")
    assert "excluding the query's traversal; 6 queries (3 without a positive)" in table
    assert (tmp_path / "out" / "recall_other_passes.png").exists()


def test_single_traversal_leaves_nothing_to_find_elsewhere_and_is_not_evaluated(
    dataset, descriptors, tmp_path, without_pictures
):
    dataset = with_sides(dataset, traversals=([""] * PLACES, [""] * PLACES))
    table = report({"off the shelf": descriptors}, dataset, tmp_path / "out")
    assert "traversal" not in table
    assert (tmp_path / "out" / "recall.md").exists()


def on_both_sides(dataset, descriptors, count):
    """The first queries are database images: one by its path, the others copies."""
    paths = dataset.queries.paths.copy()
    for i in range(count):
        shutil.copy(dataset.database.paths[i], paths[i])
    paths[0] = dataset.database.paths[0]
    queries = descriptors[0].copy()
    queries[:count] = descriptors[1][:count]
    dataset = dataclasses.replace(dataset, queries=dataclasses.replace(dataset.queries, paths=paths))
    return dataset, (queries, descriptors[1])


def test_queries_in_the_database_are_counted_and_evaluated_without_their_own_photos_too(
    dataset, descriptors, tmp_path, without_pictures
):
    dataset, (queries, database) = on_both_sides(dataset, descriptors, 3)
    folder = tmp_path / "out"
    table = report({"off the shelf": (queries, database)}, dataset, folder, 45)
    assert table.rstrip() == (folder / "recall.md").read_text().rstrip()
    assert "**3 of 6 queries are in the database themselves, where any model finds them.**" in table
    assert "recall@N within 45 m, excluding the query's own photo; 6 queries, 6 images" in table
    plain, without = (
        json.loads((folder / f"{stem}.json").read_text())["off the shelf"]
        for stem in ("recall", "recall_without_own_photos")
    )
    cosines = queries @ database.T
    right = np.abs(np.arange(6)[:, None] - np.arange(6)) <= 1  # 43 m and less
    assert plain["recalls"][0] == right[np.arange(6), cosines.argmax(1)].mean()
    cosines[np.arange(3), np.arange(3)] = -2
    right[np.arange(3), np.arange(3)] = False
    assert without["recalls"][0] == right[np.arange(6), cosines.argmax(1)].mean()
    assert without["recalls"][0] < plain["recalls"][0]


def test_where_a_querys_own_photo_alone_is_right_the_recall_is_said_to_mean_nothing(
    dataset, descriptors, tmp_path, without_pictures
):
    dataset, descriptors = on_both_sides(dataset, descriptors, 6)
    table = report({"off the shelf": descriptors}, dataset, tmp_path / "out")
    assert "**6 of 6 queries are in the database themselves, where any model finds them, and nothing else is" in table
    assert not (tmp_path / "out" / "recall_without_own_photos.md").exists()


def test_only_the_chief_reports(dataset, descriptors, tmp_path):
    assert report({"off the shelf": descriptors}, dataset, tmp_path / "out", is_chief=False) == ""
    assert not (tmp_path / "out").exists()
