import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.distribution.workers import Workers
from keras_sare.evaluation import place_report, report_places
from keras_sare.evaluation.place_report import SavedModel
from keras_sare.extraction import ImageInputs
from keras_sare.extraction.extractor import Extractor
from keras_sare.training import RecallValidation


def report(models, places, folder, radius, strategy=None, saved=None, is_chief=True):
    def extract(model):
        return places.extract_all(Extractor(model, strategy or tf.distribute.get_strategy()))

    return report_places(models, places.dataset, extract, folder, radius, is_chief, saved)


@pytest.fixture
def places(make_places):
    return make_places("test", 6, seed=2)


@pytest.fixture
def extractor(make_model):
    return Extractor(make_model(), tf.distribute.get_strategy())


def test_inputs_are_pixels_as_they_are_unless_said_otherwise(places):
    assert not places.stored
    assert places.augmented is None


def test_ids_run_over_the_database_and_then_over_the_queries(places, extractor):
    queries, database = places.extract_all(extractor)
    chosen = places.extract(extractor, places.query_ids(np.array([4, 1])), "two queries")
    np.testing.assert_allclose(chosen, queries[[4, 1]], atol=1e-6)
    chosen = places.extract(extractor, np.array([5]), "a database image")
    np.testing.assert_allclose(chosen, database[[5]], atol=1e-6)


def named_places(places, names):
    """The same photos without positions: database image and query of one index show the place of that name."""
    dataset = places.dataset
    sides = [ImageSet(side.paths, places=np.array(names)) for side in (dataset.database, dataset.queries)]
    return dataclasses.replace(places, dataset=PlaceDataset("rooms", *sides))


def mined(places, extractor):
    """Ids of the queries, and of the positive and the negatives that are mined for each."""
    source = places.tuple_source()
    queries = source.miner.trainable_queries
    of_queries = places.extract(extractor, source.queries[queries], "queries")
    database = places.extract(extractor, np.arange(source.database), "database")
    return source.queries[queries], source.miner.mine(queries, of_queries, database, 1).images


@pytest.mark.parametrize("database_queries", [False, True])
def test_named_places_are_enough_to_mine_tuples(places, extractor, database_queries):
    places = named_places(places, ["hall", "hall", "roof", "roof", "yard", "yard"])
    settings = dataclasses.replace(places.settings, database_queries=database_queries)
    ids, tuples = mined(dataclasses.replace(places, settings=settings), extractor)
    assert len(ids) == (12 if database_queries else 6)
    place = np.tile(np.arange(6) // 2, 2)
    assert (place[tuples[:, 0]] == place[ids]).all()
    assert (place[tuples[:, 1:]] != place[ids][:, None]).all()
    assert (tuples[:, 0] != ids).all()


def test_named_places_are_enough_to_report(places, make_model, tmp_path):
    places = named_places(places, ["hall", "hall", "roof", "roof", "yard", "yard"])
    table = report({"off the shelf": make_model()}, places, tmp_path / "out", 25)
    assert "recall@N at the same place; 6 queries, 6 images" in table
    assert (tmp_path / "out" / "matches.png").stat().st_size > 100


def test_another_timestamp_is_asked_of_validation_and_report(places, make_model, extractor, tmp_path):
    times = np.array([1, 2, 1, 2, 1, 2])
    dataset = places.dataset
    queries = dataclasses.replace(dataset.queries, timestamps=times)
    database = dataclasses.replace(dataset.database, timestamps=np.array([1, 1, 1, 1, 2, 1]))
    dataset = dataclasses.replace(dataset, queries=queries, database=database, other_timestamps=True)
    places = dataclasses.replace(places, dataset=dataset)
    source = places.tuple_source()
    assert source.miner.trainable_queries.tolist() == [1, 3, 4, 5]
    assert [row.tolist() for row in source.miner.non_negatives] == [[i] for i in range(6)]
    assert RecallValidation(places).positives.counts.tolist() == [0, 1, 0, 1, 1, 1]
    measured = RecallValidation(places).measure(extractor, Workers(tf.distribute.get_strategy()))
    assert (measured.protocol, measured.queries_without_positive) == ("recall@N within 25 m, of another timestamp", 2)
    table = report({"off the shelf": make_model()}, places, tmp_path / "out", 25)
    assert "of another timestamp; 6 queries (2 without a positive)" in table


def test_fingerprint_tells_what_positives_depend_on(places):
    timed = [
        dataclasses.replace(side, timestamps=np.arange(6)) for side in (places.dataset.database, places.dataset.queries)
    ]

    def fingerprint(**changed):
        return dataclasses.replace(places, dataset=dataclasses.replace(places.dataset, **changed)).fingerprint

    unused = fingerprint(database=timed[0], queries=timed[1])
    used = fingerprint(database=timed[0], queries=timed[1], other_timestamps=True)
    named = [named_places(places, names).fingerprint for names in (["a", "b", "c"] * 2, ["a", "c", "b"] * 2)]
    assert unused == places.fingerprint
    assert len({unused, used, *named}) == 4


def test_replicas_share_the_images(places, extractor, make_model):
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    shared = places.extract_all(Extractor(make_model(mirrored), mirrored))
    for a, b in zip(shared, places.extract_all(extractor), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_descriptors_beyond_the_memory_limit_go_to_a_file(places, extractor):
    small = dataclasses.replace(places, settings=dataclasses.replace(places.settings, memory_limit=10))
    database = small.extract(extractor, np.arange(6), "database")
    assert isinstance(database, np.memmap)
    np.testing.assert_array_equal(database, places.extract(extractor, np.arange(6), "database"))


def test_report_by_two_replicas_compares_models_and_leaves_tables_and_pictures(places, make_model, tmp_path):
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    models = {"off the shelf": make_model(), "trained": make_model(mirrored)}
    table = report(models, places, tmp_path / "out", 25, mirrored)
    assert table == (tmp_path / "out" / "recall.md").read_text().rstrip()
    assert "| trained / off the shelf | 1.00 |" in table
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "matches.png",
        "recall.json",
        "recall.md",
        "recall.png",
        "recall_verdict.json",
    ]


def test_report_explains_its_rows_and_ends_in_a_verdict(places, make_model, tmp_path):
    models = {"off the shelf": make_model(), "trained": make_model()}
    text = report(models, places, tmp_path / "out", 25, saved=SavedModel("trained", "recall@5 on val 0.9"))
    assert "A row `A / B` is the recall of A divided by that of B" in text
    assert "Verdict: best is **off the shelf** and **trained**, recall@1" in text
    assert text.endswith("Saved as model.keras: **trained** (recall@5 on val 0.9).")
    stored = json.loads((tmp_path / "out" / "recall_verdict.json").read_text())
    measured = json.loads((tmp_path / "out" / "recall.json").read_text())
    assert stored["values"] == {name: report["recalls"][0] for name, report in measured.items()}
    assert (stored["saved"], stored["reason"]) == ("trained", "recall@5 on val 0.9")


def test_matches_of_the_saved_model_are_drawn_beside_the_baselines(places, make_model, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(place_report, "draw_matches", lambda *arguments: drawn.append(arguments[3]))
    models = dict.fromkeys(["off the shelf", "whitened", "trained"], make_model())
    report(models, places, tmp_path / "out", 25)
    report(models, places, tmp_path / "out", 25, saved=SavedModel("whitened"))
    assert drawn == [("off the shelf", "trained"), ("off the shelf", "whitened")]


def test_report_across_traversals_excludes_the_querys_own(places, make_model, tmp_path):
    dataset = places.dataset
    # Queries 0 to 2 were taken on the traversal of their own positives, the others on a traversal of its own.
    traversals = np.array(["a", "a", "a", "b", "b", "b"])
    queries = dataclasses.replace(dataset.queries, traversals=np.array(["a", "a", "a", "c", "c", "c"]))
    database = dataclasses.replace(dataset.database, traversals=traversals)
    places = dataclasses.replace(places, dataset=dataclasses.replace(dataset, queries=queries, database=database))
    table = report({"off the shelf": make_model()}, places, tmp_path / "out", 25)
    assert "excluding the query's traversal; 6 queries (3 without a positive)" in table
    assert (tmp_path / "out" / "recall_other_passes.png").exists()


def test_single_traversal_leaves_nothing_to_find_elsewhere_and_is_not_evaluated(places, make_model, tmp_path):
    traversals = np.array([""] * 6)
    sides = {
        side: dataclasses.replace(getattr(places.dataset, side), traversals=traversals)
        for side in ("database", "queries")
    }
    places = dataclasses.replace(places, dataset=dataclasses.replace(places.dataset, **sides))
    table = report({"off the shelf": make_model()}, places, tmp_path / "out", 25)
    assert "traversal" not in table
    assert (tmp_path / "out" / "recall.md").exists()


def on_both_sides(places, count):
    """The first queries are database images: one by its path, the others copies."""
    dataset = places.dataset
    paths = dataset.queries.paths.copy()
    for i in range(count):
        shutil.copy(dataset.database.paths[i], paths[i])
    paths[0] = dataset.database.paths[0]
    dataset = dataclasses.replace(dataset, queries=dataclasses.replace(dataset.queries, paths=paths))
    return dataclasses.replace(places, dataset=dataset, inputs=ImageInputs(dataset.paths, (12, 16)))


def test_report_says_which_queries_are_in_the_database_and_the_recall_without_their_own_photos(
    places, make_model, tmp_path
):
    places = on_both_sides(places, 3)
    table = report({"off the shelf": make_model()}, places, tmp_path / "out", 45)
    assert table.rstrip() == (tmp_path / "out" / "recall.md").read_text().rstrip()
    assert "**3 of 6 queries are in the database themselves, where any model finds them.**" in table
    assert "recall@N within 45 m, excluding the query's own photo; 6 queries, 6 images" in table
    plain, without = (
        json.loads((tmp_path / "out" / f"{stem}.json").read_text())["off the shelf"]
        for stem in ("recall", "recall_without_own_photos")
    )
    queries, database = places.extract_all(Extractor(make_model(), tf.distribute.get_strategy()))
    cosines = queries @ database.T
    right = np.abs(np.arange(6)[:, None] - np.arange(6)) <= 1  # 43 m and less
    assert plain["recalls"][0] == right[np.arange(6), cosines.argmax(1)].mean()
    cosines[np.arange(3), np.arange(3)] = -2
    right[np.arange(3), np.arange(3)] = False
    assert without["recalls"][0] == right[np.arange(6), cosines.argmax(1)].mean()
    assert without["recalls"][0] < plain["recalls"][0]


def test_report_on_queries_whose_own_photo_alone_is_right_says_that_it_means_nothing(places, make_model, tmp_path):
    table = report({"off the shelf": make_model()}, on_both_sides(places, 6), tmp_path / "out", 25)
    assert "**6 of 6 queries are in the database themselves, where any model finds them, and nothing else is" in table
    assert not (tmp_path / "out" / "recall_without_own_photos.md").exists()


def test_only_the_chief_reports(places, make_model, tmp_path):
    assert report({"off the shelf": make_model()}, places, tmp_path / "out", 25, is_chief=False) == ""
    assert not (tmp_path / "out").exists()
