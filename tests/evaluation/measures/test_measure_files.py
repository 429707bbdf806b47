"""`recall_measures.json` and its table."""

import json

import numpy as np

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.evaluation.measures.measure_files import write_measures
from keras_sare.evaluation.measures.measured import Measured


def measured(positions=True):
    """Two queries find their place, one another one 100 m away, and one has none."""
    images = np.eye(4, dtype=np.float32)
    places = np.array(["a", "b", "c", "d"])

    def side(names, at, places):
        where = {"positions": [[x, 0.0] for x in at]} if positions else {}
        return ImageSet(names, places=places, **where)

    database = side(["a", "b", "c", "d"], [0, 100, 200, 300], places)
    queries = side(["q", "r", "s", "t"], [3, 104, 200, 900], np.array(["a", "b", "c", "x"]))
    dataset = PlaceDataset("street", database, queries)
    result = Measured("own", "recall", dataset.positives(25))
    result.measure("model, 1", (images[[0, 1, 3, 3]], images), dataset)
    return result


def test_numbers_of_known_answers_with_intervals_and_the_cost_of_the_search(tmp_path):
    one = measured()
    table = write_measures(tmp_path / "m.json", one.answers, one.reports, one.costs)
    [stored] = json.loads((tmp_path / "m.json").read_text()).values()
    values = {name: measure["value"] for name, measure in stored["measures"].items()}
    assert values["recall@1"] == values["mAP@1"] == 0.5
    [report] = one.reports.values()
    assert [values[f"recall@{n}"] for n in report.ns] == list(report.recalls)
    assert values["mean error, m"] == (3 + 4 + 100 + 600) / 4
    assert values["median error, m"] == (4 + 100) / 2
    assert values["AUC-PR"] == 0.5
    assert values["recall at 100 % precision"] == 0
    assert all(measure["low"] <= measure["value"] <= measure["high"] for measure in stored["measures"].values())
    assert stored["interval"] == {"level": 0.95, "resamples": 2000, "seed": 0}
    assert stored["search"]["database_bytes"] == 64
    assert stored["search"]["seconds"] > 0
    assert (stored["protocol"], stored["queries"]) == ("own", 4)
    assert "| model, 1 | 0.500 (0.000 to 1.000) |" in table


def test_places_without_positions_have_no_errors(tmp_path):
    one = measured(positions=False)
    table = write_measures(tmp_path / "m.json", one.answers, one.reports, one.costs)
    [stored] = json.loads((tmp_path / "m.json").read_text()).values()
    assert "median error, m" not in stored["measures"]
    assert "error, m" not in table.splitlines()[0]


def test_part_of_the_queries_has_numbers_of_its_own(tmp_path):
    part = measured().part("night", "recall_night", np.array([1, 2]))
    assert part.reports["model, 1"].protocol == "own, night queries"
    assert part.reports["model, 1"].recalls[0] == 0.5
    assert part.reports["model, 1"].queries == 2
    write_measures(tmp_path / "m.json", part.answers, part.reports, part.costs)
    [stored] = json.loads((tmp_path / "m.json").read_text()).values()
    assert stored["measures"]["mean error, m"]["value"] == 52
    assert stored["search"] is None
