import dataclasses

import numpy as np
import pytest

from keras_sare.models import Extractor, split
from keras_sare.training import ImageInputs, StoredInputs, open_places, report_places


@pytest.fixture
def opened(make_places, make_model, settings, tmp_path):
    def open_with(limit):
        trunk, head = split(make_model(), "conv2")
        dataset = make_places("test", 6, seed=2).dataset
        places, stored = open_places({"test": dataset}, trunk, (12, 16), settings, tmp_path / "store", limit)
        return places["test"], stored, head

    return open_with


def test_output_of_the_frozen_layers_is_stored_where_it_fits(opened):
    places, stored, _ = opened(1e6)
    assert stored
    assert isinstance(places.inputs, StoredInputs)


def test_inputs_are_pixels_where_it_does_not_fit(opened, tmp_path):
    places, stored, _ = opened(1e3)
    assert not stored
    assert isinstance(places.inputs, ImageInputs)
    assert not (tmp_path / "store").exists()


def test_descriptors_are_the_same_from_the_store_and_from_pixels(opened, make_model):
    from_store, _, head = opened(1e6)
    from_pixels, _, _ = opened(0)
    for a, b in zip(
        from_store.describe_all(Extractor(head)), from_pixels.describe_all(Extractor(make_model())), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=2e-3)  # float16 maps


def test_ids_run_over_the_database_and_then_over_the_queries(opened, make_model):
    places, _, _ = opened(0)
    extractor = Extractor(make_model())
    queries, _ = places.describe_all(extractor)
    chosen = places.describe(extractor, places.query_ids(np.array([4, 1])), "two queries")
    np.testing.assert_allclose(chosen, queries[[4, 1]], atol=1e-6)


def test_descriptors_beyond_the_memory_limit_go_to_a_file(opened, make_model):
    places, _, _ = opened(0)
    small = dataclasses.replace(places, settings=dataclasses.replace(places.settings, memory_limit=10))
    extractor = Extractor(make_model())
    database = small.describe(extractor, np.arange(6), "database")
    assert isinstance(database, np.memmap)
    np.testing.assert_array_equal(database, places.describe(extractor, np.arange(6), "database"))


def test_report_compares_models_and_leaves_tables_and_pictures(opened, make_model, tmp_path):
    places, _, _ = opened(0)
    table = report_places({"off the shelf": make_model(), "trained": make_model()}, places, tmp_path / "out", 25)
    assert table == (tmp_path / "out" / "recall.md").read_text().rstrip()
    assert "| trained / off the shelf | 1.00 |" in table
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "matches.png",
        "recall.json",
        "recall.md",
        "recall.png",
    ]


def test_report_across_passes_leaves_the_querys_own_pass_out(opened, make_model, tmp_path):
    places, _, _ = opened(0)
    dataset = places.dataset
    # Queries 0 to 2 were taken on the pass of their own positives, the others on a pass of its own.
    passes = np.array(["a", "a", "a", "b", "b", "b"])
    queries = dataclasses.replace(dataset.queries, passes=np.array(["a", "a", "a", "c", "c", "c"]))
    database = dataclasses.replace(dataset.database, passes=passes)
    places = dataclasses.replace(places, dataset=dataclasses.replace(dataset, queries=queries, database=database))
    table = report_places({"off the shelf": make_model()}, places, tmp_path / "out", 25)
    assert "own pass left out; 6 queries (3 without a positive)" in table
    assert (tmp_path / "out" / "recall_other_passes.png").exists()


def test_single_pass_leaves_nothing_to_find_elsewhere_and_is_not_evaluated(opened, make_model, tmp_path):
    places, _, _ = opened(0)
    passes = np.array([""] * 6)
    sides = {
        side: dataclasses.replace(getattr(places.dataset, side), passes=passes) for side in ("database", "queries")
    }
    places = dataclasses.replace(places, dataset=dataclasses.replace(places.dataset, **sides))
    table = report_places({"off the shelf": make_model()}, places, tmp_path / "out", 25)
    assert "own pass" not in table
    assert (tmp_path / "out" / "recall.md").exists()
